// Package soak writes to a cluster for hours and reads everything back meanwhile.
//
// The problem: a check at the end of a run needs a ledger of all that was acknowledged, which grows, and learns of a lost record
// only when the run is over. A soak of eight hours must find a fault while the logs of that minute still exist, in memory that
// does not grow, and must survive what it is there to provoke: brokers that restart, and its own restart.
//
// So what was acknowledged is remembered only until it was read back. Each launch (one open driver; a new one follows whenever an
// operation failed) writes streams of records that are numbered from 0 and sent by an idempotent producer, one after the other.
// What was acknowledged of a stream is therefore a prefix of it, reading it back is comparing with the next number that is
// due, and all that has to be kept is: how far a stream was read, which rows of acknowledged records were not (sequence
// number → offset), and the few findings that may yet change. If reading falls behind, writing waits (Config.MaxUnread).
//
// What holds:
//
//  1. A record that was acknowledged and read back right is forgotten, and counted.
//  2. A record that was passed over is lost, unless it turns up later: then it is out of order. Passed over means that a later record
//     of its stream was read. That is a fault whether or not an acknowledgement is known of: a broker that took the later one from
//     an idempotent producer had taken this one. Two exceptions: an operation that was handed back as failed, and what lies before
//     the first record of a stream that was read, because a broker which does not know a producer takes any number from it.
//  3. A record that was read and whose number is below the next one due is there again, unless it was passed over before.
//  4. Each record's bytes are derived anew from its stream and number (package frame) and compared.
//
// What survives the program is described at State.
package soak

import (
	"errors"
	"fmt"
	"time"

	"ackline/loadgen/cluster"
	"ackline/loadgen/frame"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
	"ackline/loadgen/secure"
)

// Config is a soak. Zeros mean what each field says.
type Config struct {
	// Brokers are host:port addresses to ask first. Needed.
	Brokers []string
	// Security is what the brokers ask of their clients.
	Security secure.Config
	// Topic is written to and read back. "": a new name, or the one that the state file has. It is made when the soak begins, and
	// deleted when the soak is over, unless Keep is set; a soak that found a fault leaves it, and so does one that can be resumed.
	// Existing: it is there already, and is not deleted.
	// Several have commas between them.
	Topic    string
	Existing bool
	Keep     bool
	// Topics is how many topics are made, with numbers behind a name that they have in common; 0 means as many as Topic names.
	Topics int
	// Partitions (of each) and Replication are for topics that are made. 0 partitions means 1; replication 0 leaves it to the cluster.
	Partitions  int32
	Replication int16
	TopicConfig map[string]string

	// RatePerSecond is how many records arrive per second, by a Poisson schedule that does not wait for answers. 0 means 500.
	RatePerSecond float64
	// ValueBytes is the size of a record's value, at least frame.MinPayload. 0 means 1024.
	ValueBytes int
	// For is how long is written, all launches of the program together. Must be above 0.
	For time.Duration
	// State is the path of the state file. "" keeps none, and the soak cannot be resumed.
	State string

	// Timeout is how long a record may stay unanswered before a new launch takes over from it. 0 means 30 s.
	Timeout time.Duration
	// GiveUp is how long nothing may be acknowledged, or nothing be readable, before the soak ends. 0 means 10 min.
	GiveUp time.Duration
	// Patience is how long, after the last write, an acknowledged record may stay unread before it is lost; before the last write,
	// three times as long, and the soak ends then. 0 means 10 s.
	Patience time.Duration
	// MaxUnread is how many acknowledged records may wait to be read back before writing waits for reading. 0 means 100,000,
	// which is 2.4 MB when no two of them are neighbours.
	MaxUnread int
	// SaveEvery is how often the state is saved. 0 means 1 s.
	SaveEvery time.Duration
	// ReportEvery is how often Events.Report is called. 0 means a minute.
	ReportEvery time.Duration
}

// Default returns a soak of eight hours.
func Default() Config {
	return Config{Partitions: 1, RatePerSecond: 500, ValueBytes: 1024, For: 8 * time.Hour, Timeout: 30 * time.Second, GiveUp: 10 * time.Minute,
		Patience: 10 * time.Second, MaxUnread: 100_000, SaveEvery: time.Second, ReportEvery: time.Minute}
}

// normal replaces zeros by what they mean.
func (c Config) normal() Config {
	d := Default()
	set := func(v *time.Duration, to time.Duration) {
		if *v == 0 {
			*v = to
		}
	}
	set(&c.Timeout, d.Timeout)
	set(&c.GiveUp, d.GiveUp)
	set(&c.Patience, d.Patience)
	set(&c.SaveEvery, d.SaveEvery)
	set(&c.ReportEvery, d.ReportEvery)
	if c.Partitions == 0 {
		c.Partitions = d.Partitions
	}
	if c.RatePerSecond == 0 {
		c.RatePerSecond = d.RatePerSecond
	}
	if c.ValueBytes == 0 {
		c.ValueBytes = d.ValueBytes
	}
	if c.MaxUnread == 0 {
		c.MaxUnread = d.MaxUnread
	}
	return c
}

// maxRunes bounds what a line may say about one error.
const maxRunes = 300

// The bounds of a soak's memory: MaxValue of the payloads, MaxUnread of the window.
const (
	maxValue  = 1 << 20
	maxUnread = 1_000_000
)

func (c Config) arrivals(seed uint64) pace.Spec {
	return pace.Spec{Kind: pace.Poisson, RatePerSecond: c.RatePerSecond, Seed: seed}
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.normal()
	if len(c.Brokers) == 0 {
		return errors.New("no brokers: give at least one host:port")
	}
	for _, b := range c.Brokers {
		if err := cluster.CheckAddress(b); err != nil {
			return err
		}
	}
	switch {
	case c.Topic == "" && c.Existing:
		return errors.New("which topic is there already? give --topic with --existing")
	case c.For <= 0 || c.For > 31*24*time.Hour:
		return fmt.Errorf("a soak of %v: want more than 0 and at most 31 days", c.For)
	case c.ValueBytes < frame.MinPayload || c.ValueBytes > maxValue:
		return fmt.Errorf("size %d: want %d to %d bytes", c.ValueBytes, frame.MinPayload, maxValue)
	case c.Partitions < 0 || c.Replication < 0:
		return fmt.Errorf("partitions %d, replication %d: none may be negative", c.Partitions, c.Replication)
	case c.Timeout < 0 || c.Timeout > 10*time.Minute:
		return fmt.Errorf("timeout %v: want 0 (which means 30s) to 10m", c.Timeout)
	case c.GiveUp < 0 || c.Patience < 0 || c.SaveEvery < 0 || c.ReportEvery < 0:
		return fmt.Errorf("give-up %v, patience %v, save-every %v, report-every %v: none may be negative", c.GiveUp, c.Patience, c.SaveEvery, c.ReportEvery)
	case c.MaxUnread < 0 || c.MaxUnread > maxUnread:
		return fmt.Errorf("max-unread %d: want 0 (which means 100000) to %d", c.MaxUnread, maxUnread)
	}
	return errors.Join(place.Check(c.Topic, c.Topics, c.Existing), c.Security.Validate(), c.arrivals(0).Validate())
}
