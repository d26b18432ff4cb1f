// Package fingerprint says what machine a figure was measured on.
//
// Two latencies can be compared only when everything under them was the same: a kernel update, a mount option or a
// disk that lost its write cache moves a durable write by more than any change to a program does. So every results
// file carries a fingerprint, and a comparison is refused when the digests differ. The fields that vary without
// changing the meaning of a figure (free space, uptime) are shown but stay out of the digest.
package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Unknown is the value of a field that this host does not reveal. It takes part in the digest like any other value:
// a host that begins to reveal something is not silently the same.
const Unknown = "unknown"

// Field is one fact about the host.
type Field struct {
	Name  string `json:"name"`            // snake_case, with its unit behind it: "memory_bytes"
	Value string `json:"value"`           // Unknown when the host does not say
	Match bool   `json:"match,omitempty"` // takes part in the digest: must be equal for figures to be comparable
}

// Info is a host's fingerprint: its fields in a fixed order and a digest of those that must match.
type Info struct {
	Digest string  `json:"digest"` // first 16 hex digits of SHA-256 over "name=value\n" of every field with Match
	Fields []Field `json:"fields"`
}

// New orders nothing and drops nothing: it only computes the digest of fields.
func New(fields []Field) Info {
	return Info{Digest: digest(fields), Fields: fields}
}

// Get returns the value of the named field, or Unknown.
func (i Info) Get(name string) string {
	for _, f := range i.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return Unknown
}

// Check recomputes the digest and compares: a results file edited by hand fails it.
func (i Info) Check() error {
	if want := digest(i.Fields); i.Digest != want {
		return fmt.Errorf("fingerprint: digest is %q but the fields give %q: the record was edited", i.Digest, want)
	}
	return nil
}

// Differ lists the fields that keep a and b from being compared, as "name: a's value / b's value". It is empty exactly
// when the digests are equal.
func Differ(a, b Info) []string {
	var out []string
	seen := map[string]bool{}
	for _, f := range append(append([]Field(nil), a.Fields...), b.Fields...) {
		if !f.Match || seen[f.Name] {
			continue
		}
		seen[f.Name] = true
		if x, y := a.Get(f.Name), b.Get(f.Name); x != y {
			out = append(out, fmt.Sprintf("%s: %s / %s", f.Name, x, y))
		}
	}
	return out
}

func digest(fields []Field) string {
	h := sha256.New()
	for _, f := range fields {
		if f.Match {
			fmt.Fprintf(h, "%s=%s\n", f.Name, strings.ReplaceAll(f.Value, "\n", " "))
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
