package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"ackline/broker/vfs"
)

// TestWhoJustStartedDoesNotSayThereIsNoSuchNode: a node whose catalog may be old, or empty because it has only just joined, must
// not claim that there is no node of some id. Whoever removes that node would take it for removed.
func TestWhoJustStartedDoesNotSayThereIsNoSuchNode(t *testing.T) {
	n := openInside(t, vfs.NewMem())
	ask := func(path, body string) string {
		t.Helper()
		for _, a := range n.admin.Actions() {
			if a.Path == path {
				_, err := a.Do(context.Background(), []byte(body))
				return fmt.Sprint(err)
			}
		}
		t.Fatalf("no %s", path)
		return ""
	}
	for _, x := range []struct{ path, body string }{
		{"/admin/remove", `{"node": 9}`},
		{"/admin/remove", `{"node": 1, "to": 9}`},
		{"/admin/transfer", `{"all_from": 9, "to": 1}`},
	} {
		n.settled.Store(false)
		if got := ask(x.path, x.body); !strings.Contains(got, "has not heard yet whether there is a node 9") {
			t.Errorf("%s %s, just started: %s", x.path, x.body, got)
		}
		n.settled.Store(true)
		if got := ask(x.path, x.body); !strings.Contains(got, "there is no node 9") {
			t.Errorf("%s %s: %s", x.path, x.body, got)
		}
	}
}
