// Package topicconfig is the one table of the configuration keys that a topic may set: their types, defaults, valid
// values and descriptions. Creation, alteration and description of topics all read it, so that they cannot disagree.
package topicconfig

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Entry is one key that a topic sets.
type Entry struct{ Key, Value string }

// Type is a key's type, with the numbers that DescribeConfigs uses.
type Type int8

// The types that are used.
const (
	Boolean Type = 1
	String  Type = 2
	Int     Type = 3
	Long    Type = 5
	List    Type = 7
)

// Key describes one key that a topic may set.
type Key struct {
	Name    string
	Type    Type
	Default string
	Doc     string

	min, max int64                   // of a number
	values   []string                // that anything else may have
	setting  func(*Settings) *int64  // where a number goes; nil for anything else
	text     func(*Settings) *string // where a name goes, which may be empty; nil for anything else
}

// Settings are a topic's configuration, parsed: its own values over the defaults.
type Settings struct {
	RetentionMs       int64  // age at which a segment may go; -1 never
	RetentionBytes    int64  // size of a partition above which its oldest segments may go; -1 none
	SegmentBytes      int64  // size at which a new segment begins
	MaxMessageBytes   int64  // largest record batch, as stored
	MinInSyncReplicas int64  // as set; a majority must have a record on disk in any case
	LeaderRegion      string // region or zone where a replica is to lead; empty: anywhere
}

// keys is the one table, ascending by name. Only keys that this broker honours are in it: one that is accepted
// and ignored would be a lie.
var keys = []Key{
	{
		Name: "cleanup.policy", Type: List, Default: "delete", values: []string{"delete"},
		Doc: "What happens to old segments: delete drops them by age and size.",
	}, {
		Name: "compression.type", Type: String, Default: "producer", values: []string{"producer"},
		Doc: "Batches are stored in the compression that the producer chose.",
	}, {
		Name: "leader.region", Type: String, text: func(s *Settings) *string { return &s.LeaderRegion },
		Doc: "The region, or zone, in which the leaders are to be, as nodes are configured: as long as a replica there lives and has " +
			"everything, it leads, whatever leader_placement says. Empty for anywhere.",
	}, {
		Name: "max.message.bytes", Type: Int, Default: "1048588", min: 0, max: math.MaxInt32,
		setting: func(s *Settings) *int64 { return &s.MaxMessageBytes },
		Doc:     "The largest record batch accepted, in bytes, as compressed by the producer.",
	}, {
		Name: "message.timestamp.type", Type: String, Default: "CreateTime", values: []string{"CreateTime"},
		Doc: "Records keep the timestamp that the producer gave them.",
	}, {
		Name: "min.insync.replicas", Type: Int, Default: "1", min: 1, max: math.MaxInt16,
		setting: func(s *Settings) *int64 { return &s.MinInSyncReplicas },
		Doc: "How many replicas must have a record on disk before it is acknowledged. A majority always must, so values " +
			"up to the majority change nothing, and larger ones are refused.",
	}, {
		Name: "retention.bytes", Type: Long, Default: "-1", min: -1, max: math.MaxInt64,
		setting: func(s *Settings) *int64 { return &s.RetentionBytes },
		Doc:     "The size in bytes above which a partition's oldest segments are dropped; -1 for no limit.",
	}, {
		Name: "retention.ms", Type: Long, Default: "604800000", min: -1, max: math.MaxInt64,
		setting: func(s *Settings) *int64 { return &s.RetentionMs },
		Doc:     "The age in milliseconds above which a segment is dropped, by its newest record; -1 for no limit.",
	}, {
		Name: "segment.bytes", Type: Int, Default: "1073741824", min: 4096, max: math.MaxInt32,
		setting: func(s *Settings) *int64 { return &s.SegmentBytes },
		Doc: "The size in bytes at which a segment is closed and a new one begun; a change counts from the next batch on. " +
			"Retention drops whole segments.",
	}, {
		Name: "unclean.leader.election.enable", Type: Boolean, Default: "false", values: []string{"false"},
		Doc: "A replica that lacks acknowledged records is never elected.",
	},
}

// Keys lists the keys that a topic may set, ascending by name.
func Keys() []Key { return slices.Clone(keys) }

// Names lists the keys' names, for people.
func Names() string {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	return strings.Join(names, ", ")
}

// Lookup returns a key's description.
func Lookup(name string) (Key, bool) {
	i, found := slices.BinarySearchFunc(keys, name, func(k Key, name string) int { return strings.Compare(k.Name, name) })
	if !found {
		return Key{}, false
	}
	return keys[i], true
}

// maxName bounds a value that is a name, in bytes.
const maxName = 249

// Parse returns a number, or 0 for a key that is none. The error says what would be right.
func (k Key) Parse(value string) (int64, error) {
	if k.text != nil {
		if len(value) > maxName || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return 0, fmt.Errorf("%s=%q: want the name of a region or zone, without spaces and of at most %d bytes", k.Name, value, maxName)
		}
		return 0, nil
	}
	if k.setting == nil {
		if !slices.Contains(k.values, value) {
			return 0, fmt.Errorf("%s=%s: want %s", k.Name, value, strings.Join(k.values, " or "))
		}
		return 0, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < k.min || n > k.max {
		return 0, fmt.Errorf("%s=%s: want an integer from %d to %d", k.Name, value, k.min, k.max)
	}
	return n, nil
}

// SettingsOf parses what a topic sets. It cannot fail, because it runs on what is committed: a key or a value that a
// newer version of this program accepted leaves the default in place here.
func SettingsOf(configs []Entry) Settings {
	var s Settings
	for _, k := range keys {
		if k.setting == nil {
			continue // a name's default is empty
		}
		n, err := k.Parse(k.Default)
		if err != nil {
			panic(fmt.Sprintf("topicconfig: the default of a configuration key is not valid: %v", err))
		}
		*k.setting(&s) = n
	}
	for _, c := range configs {
		k, known := Lookup(c.Key)
		n, err := k.Parse(c.Value)
		switch {
		case !known || err != nil:
		case k.setting != nil:
			*k.setting(&s) = n
		case k.text != nil:
			*k.text(&s) = c.Value
		}
	}
	return s
}
