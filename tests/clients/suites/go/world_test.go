// Package suites is a suite of an app that keeps its values with Mattermost's official driver. Its tests run at the same time, each
// in a world of its own on the one server that `kvfake run` has started.
package suites

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/mattermost/mattermost-plugin-apps/apps"
)

// World is one isolated double of both services.
type World struct {
	ID      string            `json:"id"`
	Address string            `json:"address"`
	Env     map[string]string `json:"env"`
	Context apps.Context      `json:"context"`
}

// openWorld opens a world with one request; it ends with the test.
func openWorld(t *testing.T) *World {
	t.Helper()
	server := &World{Address: os.Getenv("KVFAKE_URL")}
	world := &World{}
	server.control(t, "POST", "/worlds", nil, world)
	t.Cleanup(func() { server.control(t, "DELETE", "/worlds/"+world.ID, nil, nil) })
	return world
}

// control asks kvfake itself, for this world; what it answers goes into the last argument.
func (world *World) control(t *testing.T, method, path string, body, into any) {
	t.Helper()
	ask(t, method, world.Address+"/_kvfake"+path, "", body, into)
}

// persist asks Beep Boop Persist, for the project of this world.
func (world *World) persist(t *testing.T, method, key string, body, into any) {
	t.Helper()
	ask(t, method, world.Env["BEEPBOOP_PERSIST_URL"]+"/persist/kv/"+key, world.Env["BEEPBOOP_TOKEN"], body, into)
}

func ask(t *testing.T, method, url, token string, body, into any) {
	t.Helper()
	var content bytes.Buffer
	if body != nil {
		noError(t, json.NewEncoder(&content).Encode(body))
	}
	request, err := http.NewRequest(method, url, &content)
	noError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	noError(t, err)
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, url, response.Status)
	}
	if into != nil {
		noError(t, json.NewDecoder(response.Body).Decode(into))
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
