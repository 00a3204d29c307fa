// Package clients holds stories of an app that keeps its values with Mattermost's official driver.
//
// Each story is run by test_real_clients.py, against a double of its own; KVFAKE_TEST_CONTEXT is the context that a call
// request would bring. What the driver stored is looked at from Python afterwards.
package clients

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mattermost/mattermost-plugin-apps/apps"
	"github.com/mattermost/mattermost-plugin-apps/apps/appclient"
)

// TeamData and NestedData are those of the documentation.
type TeamData struct {
	Name string `json:"name"`
	Id   string `json:"id"`
}

type NestedData struct {
	UserId     string   `json:"user_id"`
	IsEmployee bool     `json:"is_employee"`
	Team       TeamData `json:"team"`
}

var ada = NestedData{
	UserId:     "7q7kaakokfdsdycy3pr9ctkc5r",
	IsEmployee: true,
	Team:       TeamData{Name: "My Team", Id: "hoan6o9ws7rp5xj7wu9rmysrte"},
}

// A text under a prefix and a key is set, and got again.
func TestText(t *testing.T) {
	bot := appclient.AsBot(callContext(t))

	set(t, bot, "my-app", "my-key", "my-value")

	wantText(t, bot, "my-app", "my-key", "my-value")
}

// A struct with a struct in it comes back as it was.
func TestNestedData(t *testing.T) {
	bot := appclient.AsBot(callContext(t))

	set(t, bot, "my-app", "my-key", ada)

	wantNested(t, bot, "my-app", "my-key", ada)
}

// A key that was deleted comes back as `{}`: a struct stays empty, and a text cannot be read from it.
// Deleting it once more is no error.
func TestDelete(t *testing.T) {
	bot := appclient.AsBot(callContext(t))
	set(t, bot, "my-app", "my-key", ada)

	noError(t, bot.KVDelete("my-app", "my-key"))

	wantNested(t, bot, "my-app", "my-key", NestedData{})
	var text string
	wantError(t, bot.KVGet("my-app", "my-key", &text), "cannot unmarshal object into Go value of type string")
	noError(t, bot.KVDelete("my-app", "my-key"))
}

// The bot and the acting user have values of their own below the same prefix and key.
func TestBotAndActingUser(t *testing.T) {
	context := callContext(t)
	bot, user := appclient.AsBot(context), appclient.AsActingUser(context)

	set(t, bot, "my-app", "my-key", "the bot's")
	set(t, user, "my-app", "my-key", "ada's")
	set(t, user, "my-app", "forgotten", "ada's")
	noError(t, bot.KVDelete("my-app", "forgotten"))

	wantText(t, bot, "my-app", "my-key", "the bot's")
	wantText(t, user, "my-app", "my-key", "ada's")
	wantText(t, user, "my-app", "forgotten", "ada's")
}

// A key is another one below another prefix, and with none.
func TestPrefixes(t *testing.T) {
	bot := appclient.AsBot(callContext(t))
	prefixes := []string{"", "p", "my-app"}

	for _, prefix := range prefixes {
		set(t, bot, prefix, "my-key", fmt.Sprintf("below %q", prefix))
	}

	for _, prefix := range prefixes {
		wantText(t, bot, prefix, "my-key", fmt.Sprintf("below %q", prefix))
	}
}

// By the documentation's word, setting an equal value changes nothing.
func TestAnEqualValueChangesNothing(t *testing.T) {
	bot := appclient.AsBot(callContext(t))

	wantChanged(t, bot, ada, true)
	wantChanged(t, bot, ada, false)
	wantChanged(t, bot, "another", true)
	wantChanged(t, bot, ada, true)
}

// The plugin itself calls every set a change.
func TestEverySetIsAChange(t *testing.T) {
	bot := appclient.AsBot(callContext(t))

	wantChanged(t, bot, ada, true)
	wantChanged(t, bot, ada, true)
}

// The plugin itself refuses the documentation's own prefix, and the driver shows its words.
func TestTheLongPrefixIsRefused(t *testing.T) {
	bot := appclient.AsBot(callContext(t))
	refusal := `prefix "my-app" is longer than the limit of 2 ASCII characters`

	_, err := bot.KVSet("my-app", "my-key", "my-value")
	wantError(t, err, refusal)
	var text string
	wantError(t, bot.KVGet("my-app", "my-key", &text), refusal)
	wantError(t, bot.KVDelete("my-app", "my-key"), refusal)

	set(t, bot, "p", "my-key", "my-value")
	wantText(t, bot, "p", "my-key", "my-value")
}

// A value of 8192 bytes is the largest; a refused one leaves what was there, and the driver usable.
func TestTheLargestValue(t *testing.T) {
	bot := appclient.AsBot(callContext(t))
	largest := strings.Repeat("x", 8192-len(`""`))

	set(t, bot, "", "my-key", largest)
	_, err := bot.KVSet("", "my-key", largest+"x")

	wantError(t, err, "size limit of 8Kb exceeded")
	wantText(t, bot, "", "my-key", largest)
}

// A token that nobody issued is refused.
func TestAnUnknownTokenIsRefused(t *testing.T) {
	context := callContext(t)
	context.BotAccessToken = "nobody"

	_, err := appclient.AsBot(context).KVSet("", "my-key", "my-value")

	wantError(t, err, "user ID is required: unauthorized")
}

// The driver reads what Python has put into the bot's and ada's mappings.
func TestReadsWhatPythonWrote(t *testing.T) {
	context := callContext(t)
	bot, user := appclient.AsBot(context), appclient.AsActingUser(context)

	wantNested(t, bot, "my-app", "my-key", ada)
	wantText(t, bot, "", "name", "Ada Lovelace, née Byron 🧮")
	wantText(t, user, "p", "name", "ada's")
	var numbers []float64
	noError(t, bot.KVGet("", "numbers", &numbers))
	if fmt.Sprint(numbers) != "[1 2.5 -3e+100]" {
		t.Errorf("got %v", numbers)
	}
}

func callContext(t *testing.T) apps.Context {
	t.Helper()
	var context apps.Context
	noError(t, json.Unmarshal([]byte(os.Getenv("KVFAKE_TEST_CONTEXT")), &context))
	if context.AppID == "" || context.BotUserID == "" || context.ActingUser == nil || context.ActingUser.Id == "" {
		t.Fatalf("something is missing in the context %v", context)
	}
	return context
}

func set(t *testing.T, client *appclient.Client, prefix, key string, value any) {
	t.Helper()
	changed, err := client.KVSet(prefix, key, value)
	noError(t, err)
	if !changed {
		t.Errorf("%s/%s was not changed", prefix, key)
	}
}

func wantChanged(t *testing.T, client *appclient.Client, value any, want bool) {
	t.Helper()
	changed, err := client.KVSet("", "my-key", value)
	noError(t, err)
	if changed != want {
		t.Errorf("got changed %v, want %v", changed, want)
	}
}

func wantText(t *testing.T, client *appclient.Client, prefix, key, want string) {
	t.Helper()
	var got string
	noError(t, client.KVGet(prefix, key, &got))
	if got != want {
		t.Errorf("got %q from %s/%s, want %q", got, prefix, key, want)
	}
}

func wantNested(t *testing.T, client *appclient.Client, prefix, key string, want NestedData) {
	t.Helper()
	got := NestedData{Team: TeamData{}}
	noError(t, client.KVGet(prefix, key, &got))
	if got != want {
		t.Errorf("got %+v from %s/%s, want %+v", got, prefix, key, want)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("got the error %v, want %q", err, words)
	}
}
