// Package place numbers the partitions of several topics.
//
// The problem: ledgers, offsets, streams and outages tell partitions apart by one number, which with one topic is Kafka's own. A load on
// several topics has several partitions of each number. So a row of topics is written as Kafka never names one, with commas, and each
// of their partitions has a place: a number that is the partition's own for the first topic, and that stays what it is when a topic gains
// partitions while it is written to. Places pass through everything that only tells partitions apart; what goes to a broker or to a person
// is translated.
package place

import (
	"fmt"
	"slices"
	"strings"
)

// A place has the partition's number in its low bits, and the topic's index above.
const (
	partitionBits = 20
	// MaxTopics and MaxPartitions (of each of several topics) are what a place has room for.
	MaxTopics     = 1 << 10
	MaxPartitions = 1 << partitionBits
)

// Topics are the names of a load's topics, in the order that places count them in.
type Topics []string

// Parse reads the text form: the names, with commas between them.
func Parse(text string) Topics { return strings.Split(text, ",") }

// Numbered are n names that begin alike and have one length, so that requests to the topics have one, too. One is the beginning itself.
func Numbered(begin string, n int) Topics {
	if n <= 1 {
		return Topics{begin}
	}
	out := make(Topics, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%0*d", begin, len(fmt.Sprint(n-1)), i)
	}
	return out
}

// String is the text form.
func (t Topics) String() string { return strings.Join(t, ",") }

// Validate says what is wrong with the names.
func (t Topics) Validate() error {
	if len(t) > MaxTopics {
		return fmt.Errorf("%d topics: want at most %d", len(t), MaxTopics)
	}
	for i, name := range t {
		if name == "" && len(t) > 1 {
			return fmt.Errorf("topic %q: a name is empty: want names with commas between them, such as a,b,c", t)
		}
		if slices.Contains(t[:i], name) {
			return fmt.Errorf("topic %q: %q is there twice", t, name)
		}
	}
	return nil
}

// Check says what is wrong with a wish for n topics (0: as many as are named), whose name or names text is; existing: they are there already.
func Check(text string, n int, existing bool) error {
	names := Parse(text)
	switch {
	case n < 0 || n > MaxTopics:
		return fmt.Errorf("topics %d: want 1 to %d", n, MaxTopics)
	case n > 1 && existing:
		return fmt.Errorf("topics %d with --existing: it is for topics that are made; name those that are there, as --topic a,b,c", n)
	case n > 1 && names.Several():
		return fmt.Errorf("topics %d with the %d names %s: give the one or the others", n, len(names), names)
	}
	return names.Validate()
}

// Several reports whether there is more than one, so that a partition's number says too little.
func (t Topics) Several() bool { return len(t) > 1 }

// Of is the place of a topic's partition.
func Of(topic int, partition int32) int32 { return int32(topic)<<partitionBits | partition }

// Split is Of's opposite, among several topics.
func Split(at int32) (topic int, partition int32) {
	return int(at >> partitionBits), at & (MaxPartitions - 1)
}

// Partition is Kafka's number of the partition at a place.
func (t Topics) Partition(at int32) int32 {
	if !t.Several() {
		return at
	}
	_, partition := Split(at)
	return partition
}

// Topic is the name of the topic that the place is in.
func (t Topics) Topic(at int32) string { return t[t.Index(at)] }

// Index is that topic's index.
func (t Topics) Index(at int32) int {
	if !t.Several() {
		return 0
	}
	topic, _ := Split(at)
	return topic
}

// Named is Topic where a person has to be told, else "": with one topic everybody knows.
func (t Topics) Named(at int32) string {
	if !t.Several() {
		return ""
	}
	return t.Topic(at)
}

// Name is what a place is called: "partition 3", or among several topics "topic orders partition 3".
func (t Topics) Name(at int32) string { return Name(t.Named(at), t.Partition(at)) }

// Name is what a partition is called, if its topic has to be named.
func Name(topic string, partition int32) string {
	if topic == "" {
		return fmt.Sprintf("partition %d", partition)
	}
	return fmt.Sprintf("topic %s partition %d", topic, partition)
}

// ByName sorts places by their topics' names, as Kafka's numbers.
func (t Topics) ByName(places []int32) map[string][]int32 {
	out := map[string][]int32{}
	for _, at := range places {
		out[t.Topic(at)] = append(out[t.Topic(at)], t.Partition(at))
	}
	return out
}

// maxListed is how many names Listed has at most.
const maxListed = 4

// Listed are the names for a line of a summary: all of a few, the first and the last of many.
func (t Topics) Listed() string {
	if len(t) <= maxListed {
		return strings.Join(t, ", ")
	}
	return t[0] + ", …, " + t[len(t)-1]
}
