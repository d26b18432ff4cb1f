package run

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/brokertest/guarded"
	"ackline/loadgen/client"
)

var ownName = regexp.MustCompile(`^loadgen-20\d{6}-[0-9a-f]{8}$`)

// A run without a topic's name makes one that no other has, and takes it away again.
func TestOwnTopic(t *testing.T) {
	b := brokertest.Start(t, 1)
	cfg := cfgFor(b)
	cfg.Topic = ""
	var names []string
	for range 2 {
		s, err := Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		name := s.Made()
		if !ownName.MatchString(name) || name != s.Config().Topic || !b.Has(name) {
			t.Errorf("made %q, configured %q, there: %v", name, s.Config().Topic, b.Has(name))
		}
		names = append(names, name)
		if err := s.Close(); err != nil || b.Has(name) {
			t.Errorf("after the end %q is there: %v; %v", name, b.Has(name), err)
		}
	}
	if names[0] == names[1] {
		t.Errorf("two runs have one name: %v", names)
	}
	if a, b := ownTopic(time.Unix(1e9, 0), 1), ownTopic(time.Unix(2e9, 0), 1<<63); len(a) != len(b) {
		t.Errorf("%q and %q: frames of two lengths", a, b)
	}
}

// What was there before stays, whatever happens; what was made goes, also when the run cannot begin and even when it was to be kept.
func TestOnlyWhatWasMadeIsDeleted(t *testing.T) {
	b := brokertest.Start(t, 1)
	b.Create("there", 1)
	ctx := context.Background()
	cfg := cfgFor(b)
	cfg.Topic = "there"
	if _, err := Open(ctx, cfg); err == nil || !strings.Contains(err.Error(), "--existing") || !b.Has("there") {
		t.Errorf("a topic that is there, without saying so: %v; still there: %v", err, b.Has("there"))
	}
	cfg.Existing = true
	s, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Made() != "" {
		t.Errorf("made %q", s.Made())
	}
	if err := s.Close(); err != nil || !b.Has("there") {
		t.Errorf("%v; still there: %v", err, b.Has("there"))
	}
	cfg = cfgFor(b)
	cfg.Keep = true
	cfg.Client = client.Config{Resend: true, Connections: 1, Timeout: patience} // wants one connection for each partition
	cfg.Partitions = 2
	if _, err := Open(ctx, cfg); err == nil || b.Has(cfg.Topic) {
		t.Errorf("a run that cannot begin: %v; its topic is there: %v", err, b.Has(cfg.Topic))
	}
}

// A request to create a topic whose answer was lost leaves a topic behind that must be found again; but not a name that
// somebody chose, because somebody else may have chosen it too.
func TestTopicOfAnUnclearEnd(t *testing.T) {
	for _, chosen := range []string{"", "mine"} {
		b := guarded.Start(t, guarded.Ask{})
		var made string
		b.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.KeepControl()
			made = r.(*kmsg.CreateTopicsRequest).Topics[0].Topic
			return nil, errors.New("the answer is lost"), true
		})
		var asked []string
		b.ControlKey(int16(kmsg.DeleteTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.KeepControl()
			asked = append(asked, r.(*kmsg.DeleteTopicsRequest).TopicNames...)
			return nil, nil, false
		})
		_, err := Open(context.Background(), Config{Brokers: []string{b.Addr}, Topic: chosen, Client: client.Config{Timeout: patience}})
		if err == nil {
			t.Fatal("a lost answer was taken for one")
		}
		if own := chosen == ""; own != (len(asked) == 1 && asked[0] == made) || own == strings.Contains(err.Error(), "is not known") {
			t.Errorf("topic %q: asked to delete %v; %v", made, asked, err)
		}
	}
}

func TestUnclear(t *testing.T) {
	for err, want := range map[error]bool{errors.New("EOF"): true, kerr.RequestTimedOut: true, kerr.TopicAlreadyExists: true,
		kerr.TopicAuthorizationFailed: false, kerr.InvalidReplicationFactor: false} {
		if unclear(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}
