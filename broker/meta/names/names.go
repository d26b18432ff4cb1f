// Package names is what topics go by: a name, which people choose and which may be used again, and an id, which is not.
package names

import (
	"encoding/base64"
	"fmt"
	"io"
)

// MaxBytes is the longest name; Kafka's, which leaves room for "-partition" in a file name of 255.
const MaxBytes = 249

// TopicID names one creation of a topic: a topic deleted and created again under its name has another.
type TopicID [16]byte

// String is the form that Kafka's tools print: URL-safe base64 without padding.
func (t TopicID) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// NewTopicID draws an id. It avoids those that Kafka reserves (the first 2^64, zero among them) and those that print
// with a leading dash, which a command line takes for a flag.
func NewTopicID(random io.Reader) (TopicID, error) {
	for {
		var t TopicID
		if _, err := io.ReadFull(random, t[:]); err != nil {
			return TopicID{}, fmt.Errorf("names: draw a topic id: %w", err)
		}
		if !t.Reserved() && t.String()[0] != '-' {
			return t, nil
		}
	}
}

// Reserved tells whether Kafka keeps an id for itself.
func (t TopicID) Reserved() bool { return [8]byte(t[:8]) == [8]byte{} }

// Check says what is wrong with a topic's name by Kafka's rules.
func Check(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("topic name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("topic name %q is a directory's", name)
	case len(name) > MaxBytes:
		return fmt.Errorf("topic name has %d bytes, at most %d are allowed", len(name), MaxBytes)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("topic name %q has the character %q; a-z, A-Z, 0-9, '.', '_' and '-' are allowed",
				name, name[i:i+1])
		}
	}
	return nil
}
