package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/cluster"
	"ackline/loadgen/place"
)

// A run that wrote to whatever topic it was given would sooner or later write its records among somebody's own. So a run makes
// its topic, under a name that says whose it is, and deletes it; one that is there is written to only by those who say that it
// is there; and nothing is ever deleted that the run did not make.

// ownTopic names the topic of a run: all such names have one length, so that the frames of two runs have one too.
func ownTopic(now time.Time, runID uint64) string {
	return fmt.Sprintf("loadgen-%s-%08x", now.UTC().Format("20060102"), uint32(runID>>32)^uint32(runID))
}

// findTopics makes the topics, or looks up those that are there.
func (s *Session) findTopics(ctx context.Context) (err error) {
	if !s.cfg.Existing {
		names := place.Parse(s.cfg.Topic)
		for _, name := range names { // before any is made
			if err := s.absent(ctx, name); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := s.makeTopic(ctx, name); err != nil {
				return err
			}
		}
	}
	s.topic, err = s.cl.Led(ctx, s.cfg.Topic)
	if s.cfg.Existing && errors.Is(err, cluster.ErrNoTopic) {
		return fmt.Errorf("%w: leave --existing away to have it made for the run, or say which topic is there", err)
	}
	return err
}

// absent says what is wrong when a topic is there already. It is asked before the topic is made, so that no doubt is left about whose it is when a
// request to create it has an unclear end.
func (s *Session) absent(ctx context.Context, name string) error {
	_, err := s.cl.Topic(ctx, name)
	if err == nil || errors.Is(err, cluster.ErrNoLeader) {
		return fmt.Errorf("topic %q is there already: say --existing to use it as it is (it is not deleted then), or choose another name", name)
	}
	if !errors.Is(err, cluster.ErrNoTopic) && !errors.Is(err, kerr.TopicAuthorizationFailed) { // without a right to it, a topic that is not there is hidden too
		return err
	}
	return nil
}

// makeTopic makes one.
func (s *Session) makeTopic(ctx context.Context, name string) error {
	replication := s.cfg.Replication
	if replication == 0 {
		replication = -1
	}
	err := s.cl.CreateTopic(ctx, name, s.cfg.Partitions, replication, s.cfg.TopicConfig)
	made := err == nil || errors.Is(err, cluster.ErrNoLeader) || s.named && unclear(err)
	if made {
		s.created = append(s.created, name)
	}
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("%w: say --existing to use it as it is (it is not deleted then), or choose another name", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("%w: who may not create topics uses one that is there, with --topic NAME --existing", err)
	case err != nil && !made && unclear(err):
		return fmt.Errorf("%w (whether %q was made is not known; it is not deleted, because it may be another's by now)", err, name)
	}
	return err
}

// unclear reports whether a topic may have been made although creating it failed: no broker said that it was not, or one did
// that was asked again.
func unclear(err error) bool {
	code, ok := errors.AsType[*kerr.Error](err)
	return err != nil && (!ok || code.Retriable || code == kerr.TopicAlreadyExists)
}

// Made is the name of the topic if the run made it, else "". Several have commas between them.
func (s *Session) Made() string { return place.Topics(s.created).String() }

// deleteTimeout bounds the clean-up, and deleteEach is added for each of many topics.
const (
	deleteTimeout = 10 * time.Second
	deleteEach    = 200 * time.Millisecond
)

// deleteTopics deletes what findTopics made.
func (s *Session) deleteTopics() error {
	if s.cfg.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout+time.Duration(len(s.created))*deleteEach)
	defer cancel()
	var errs []error
	for _, name := range s.created {
		errs = append(errs, s.cl.DeleteTopic(ctx, name))
	}
	s.created = nil
	return errors.Join(errs...)
}
