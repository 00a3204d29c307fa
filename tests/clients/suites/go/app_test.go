package suites

import (
	"fmt"
	"testing"

	"github.com/mattermost/mattermost-plugin-apps/apps/appclient"
)

// The bot and the acting user of a call have values of their own.
func TestTheBotAndTheUserRemember(t *testing.T) {
	t.Parallel()
	world := openWorld(t)
	bot, user := appclient.AsBot(world.Context), appclient.AsActingUser(world.Context)

	remember(t, bot, "the bot's")
	remember(t, user, "ada's")

	wantMemory(t, bot, "the bot's")
	wantMemory(t, user, "ada's")
}

// Another test stores under the same key at the same time, and neither sees the other.
func TestWorldsHaveNothingInCommon(t *testing.T) {
	for _, who := range []string{"Ada", "Grace", "Barbara"} {
		who := who
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			bot := appclient.AsBot(openWorld(t).Context)
			if err := bot.KVGet("", "memory", new(string)); err == nil {
				t.Fatal("somebody was here before") // a key that is not there is {}, and no text
			}
			remember(t, bot, who)
			wantMemory(t, bot, who)
		})
	}
}

// The store is down for one request; the journal says what was asked.
func TestTheStoreIsDownForAMoment(t *testing.T) {
	t.Parallel()
	world := openWorld(t)
	bot := appclient.AsBot(world.Context)
	world.control(t, "POST", "/faults", map[string]any{"status": 503}, nil)

	if _, err := bot.KVSet("", "memory", "lost"); err == nil {
		t.Fatal("nothing went wrong")
	}
	remember(t, bot, "kept")

	var journal struct{ Exchanges []struct{ Status int } }
	world.control(t, "GET", "/journal?key=memory", nil, &journal)
	if got := fmt.Sprint(journal.Exchanges); got != "[{503} {200}]" {
		t.Errorf("got %s", got)
	}
}

// The clock of the world is set: a value of last year's, and one of this year's.
func TestAtTheTurnOfAYear(t *testing.T) {
	t.Parallel()
	world := openWorld(t)
	var record struct{ Updated string }
	for _, step := range []struct {
		move map[string]any
		want string
	}{
		{map[string]any{"freeze": true, "move_to": "2016-12-31T23:59:59.5Z"}, "2016-12-31T23:59:59.500000Z"},
		{map[string]any{"shift": 1}, "2017-01-01T00:00:00.500000Z"},
	} {
		world.control(t, "POST", "/clock", step.move, nil)
		world.persist(t, "PUT", "seen", map[string]string{"value": "here"}, &record)
		if record.Updated != step.want {
			t.Errorf("got %s, want %s", record.Updated, step.want)
		}
	}
}

// What took long to set up is set up once; each case begins from there.
func TestEveryCaseBeginsFromACheckpoint(t *testing.T) {
	t.Parallel()
	world := openWorld(t)
	bot := appclient.AsBot(world.Context)
	remember(t, bot, "set up")
	var mark struct{ Checkpoint int }
	world.control(t, "POST", "/checkpoints", nil, &mark)

	for _, value := range []string{"one", "another"} {
		wantMemory(t, bot, "set up")
		remember(t, bot, value)
		world.control(t, "POST", fmt.Sprintf("/checkpoints/%d/rollback", mark.Checkpoint), nil, nil)
	}
}

func remember(t *testing.T, client *appclient.Client, value string) {
	t.Helper()
	_, err := client.KVSet("", "memory", value)
	noError(t, err)
}

func wantMemory(t *testing.T, client *appclient.Client, want string) {
	t.Helper()
	var got string
	noError(t, client.KVGet("", "memory", &got))
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
