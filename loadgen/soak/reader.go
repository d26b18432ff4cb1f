package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"ackline/loadgen/client"
)

const (
	// maxReaders bounds the connections that read, because each has a buffer of 4 MiB.
	maxReaders = 8
	// notThereAfter times Config.Patience is how long an acknowledged record may stay unread in a log that can be read, while more
	// is written.
	notThereAfter = 3
	// rereadAfter is the pause before a read that failed is tried again.
	rereadAfter = 200 * time.Millisecond
)

// errNotThere says that reading goes on to the end of a log and finds nothing of what was acknowledged.
var errNotThere = errors.New("what was acknowledged is not there")

// reading is how far a partition's reader is.
type reading struct {
	id       int32
	good     time.Time // when it last could be read
	moved    time.Time // when it last gave something
	ahead    time.Time // since when the log ends before what was read; zero: it does not
	out      bool      // that it cannot be read was said
	damaged  int64     // the position of a batch that was damaged when it was first read; -1: none
	finished bool
}

// read reads partitions, one after the other and again, until everything was read after the last write. The error says that the soak
// must end.
func (s *soak) read(ctx context.Context, ids []int32) error {
	r := client.NewReader(s.cl, s.cfg.Topic)
	defer r.Close()
	rs := make([]reading, len(ids))
	for i, id := range ids {
		rs[i] = reading{id: id, good: time.Now(), moved: time.Now(), damaged: -1}
	}
	for left := len(rs); left > 0; {
		for i := range rs {
			p := &rs[i]
			if p.finished {
				continue
			}
			err := s.once(ctx, r, p)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if p.finished {
				left--
			}
		}
	}
	return nil
}

// once reads a partition once.
func (s *soak) once(ctx context.Context, r *client.Reader, p *reading) error {
	last := false
	select {
	case <-s.finishing:
		last = true
	default:
	}
	at := s.verify.position(p.id)
	b, hw, err := r.Read(ctx, p.id, at)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil && !errors.Is(err, kerr.OffsetOutOfRange) {
		return s.unreadable(ctx, p, err)
	}
	now := time.Now()
	if p.good = now; p.out {
		p.out = false
		s.say("%s can be read again", s.topics.Name(p.id))
	}
	if err != nil || hw < at {
		return s.beyond(ctx, p, at, err)
	}
	p.ahead = time.Time{}
	if err := s.verify.batches(p.id, b); err != nil {
		if again := p.damaged == s.verify.position(p.id); again {
			s.verify.damaged(err)
			return fmt.Errorf("what follows cannot be read: %w", err)
		}
		p.damaged = s.verify.position(p.id) // it may have happened on the way
		r.Close()
		return nil
	}
	after := s.verify.position(p.id)
	if after > at {
		p.moved = now
		return nil
	}
	owed := s.verify.owed(p.id)
	switch {
	case last && after >= hw && owed == 0, last && now.Sub(p.moved) > s.cfg.Patience:
		p.finished = true
	case owed == 0:
		p.moved = now
	case !last && now.Sub(p.moved) > notThereAfter*s.cfg.Patience:
		return fmt.Errorf("%w: %s has had nothing at offset %d for %v, high watermark %d", errNotThere, s.topics.Name(p.id), after, notThereAfter*s.cfg.Patience, hw)
	}
	return nil
}

// unreadable handles a read that was not answered, or with an error.
func (s *soak) unreadable(ctx context.Context, p *reading, err error) error {
	if final(err) {
		return fmt.Errorf("%s cannot be read: %w", s.topics.Name(p.id), err)
	}
	if quiet := time.Since(p.good); quiet > s.cfg.GiveUp {
		return fmt.Errorf("%s could not be read for %v: %w", s.topics.Name(p.id), quiet.Round(time.Second), err)
	}
	if !p.out {
		p.out = true
		s.say("%s cannot be read: %v", s.topics.Name(p.id), err)
	}
	p.moved = time.Now() // nothing can be said of what is there
	pause(ctx, rereadAfter)
	return nil
}

// beyond handles a position that the log does not have. A leader may not know yet how far its log is valid; what stays so is an end
// before it, or a start behind it.
func (s *soak) beyond(ctx context.Context, p *reading, at int64, err error) error {
	if p.ahead.IsZero() {
		p.ahead = time.Now()
	}
	if time.Since(p.ahead) < s.cfg.Patience {
		pause(ctx, rereadAfter)
		return nil
	}
	topic, e := s.cl.Topic(ctx, s.cfg.Topic)
	if e != nil {
		return s.unreadable(ctx, p, e)
	}
	ends, e := s.cl.EndOffsets(ctx, topic)
	if e != nil {
		return s.unreadable(ctx, p, e)
	}
	if end := ends[p.id]; end < at {
		s.verify.cut(p.id, end)
		return fmt.Errorf("%s ends at offset %d, before offset %d up to which it was read", s.topics.Name(p.id), end, at)
	}
	if err != nil {
		return fmt.Errorf("%s does not hold offset %d any more: retention was faster than reading back, give the topic a longer one (%w)", s.topics.Name(p.id), at, err)
	}
	return nil // its end has come back
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
