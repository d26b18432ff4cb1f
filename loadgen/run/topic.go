package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/cluster"
)

// A run that wrote to whatever topic it was given would sooner or later write its records among somebody's own. So a run makes
// its topic, under a name that says whose it is, and deletes it; one that is there is written to only by those who say that it
// is there; and nothing is ever deleted that the run did not make.

// ownTopic names the topic of a run: all such names have one length, so that the frames of two runs have one too.
func ownTopic(now time.Time, runID uint64) string {
	return fmt.Sprintf("loadgen-%s-%08x", now.UTC().Format("20060102"), uint32(runID>>32)^uint32(runID))
}

// findTopic makes the topic, or looks up the one that is there.
func (s *Session) findTopic(ctx context.Context) (err error) {
	name := s.cfg.Topic
	if s.cfg.Existing {
		s.topic, err = s.cl.Led(ctx, name)
		if errors.Is(err, cluster.ErrNoTopic) {
			return fmt.Errorf("%w: leave --existing away to have it made for the run, or say which topic is there", err)
		}
		return err
	}
	// Asked before, so that no doubt is left about whose the topic is when a request to create it has an unclear end.
	_, err = s.cl.Topic(ctx, name)
	if err == nil || errors.Is(err, cluster.ErrNoLeader) {
		return fmt.Errorf("topic %q is there already: say --existing to use it as it is (it is not deleted then), or choose another name", name)
	}
	if !errors.Is(err, cluster.ErrNoTopic) && !errors.Is(err, kerr.TopicAuthorizationFailed) { // without a right to it, a topic that is not there is hidden too
		return err
	}
	replication := s.cfg.Replication
	if replication == 0 {
		replication = -1
	}
	err = s.cl.CreateTopic(ctx, name, s.cfg.Partitions, replication, s.cfg.TopicConfig)
	s.created = err == nil || errors.Is(err, cluster.ErrNoLeader) || s.named && unclear(err)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("%w: say --existing to use it as it is (it is not deleted then), or choose another name", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("%w: who may not create topics uses one that is there, with --topic NAME --existing", err)
	case err != nil && !s.created && unclear(err):
		return fmt.Errorf("%w (whether %q was made is not known; it is not deleted, because it may be another's by now)", err, name)
	case err != nil:
		return err
	}
	s.topic, err = s.cl.Led(ctx, name)
	return err
}

// unclear reports whether a topic may have been made although creating it failed: no broker said that it was not, or one did
// that was asked again.
func unclear(err error) bool {
	code, ok := errors.AsType[*kerr.Error](err)
	return err != nil && (!ok || code.Retriable || code == kerr.TopicAlreadyExists)
}

// Made is the name of the topic if the run made it, else "".
func (s *Session) Made() string {
	if s.created {
		return s.cfg.Topic
	}
	return ""
}

// deleteTimeout bounds the clean-up.
const deleteTimeout = 10 * time.Second

// deleteTopic deletes what findTopic made.
func (s *Session) deleteTopic() error {
	if !s.created || s.cfg.Keep {
		return nil
	}
	s.created = false
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
	defer cancel()
	return s.cl.DeleteTopic(ctx, s.cfg.Topic)
}
