package names

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"orders": true, "a": true, "A-b_c.9": true, "...": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, strings.Repeat("x", 250): false,
		"a b": false, "a/b": false, "a\x00": false, "ä": false, "a:b": false, "a\n": false,
	} {
		if err := Check(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNewTopicID(t *testing.T) {
	// The first draw is reserved, the second prints with a dash (0xf8 is "-A" in URL-safe base64).
	draws := append(make([]byte, 16), 0xf8)
	draws = append(draws, make([]byte, 15)...)
	draws = append(draws, bytes.Repeat([]byte{7}, 16)...)
	got, err := NewTopicID(bytes.NewReader(draws))
	if err != nil || got != TopicID(bytes.Repeat([]byte{7}, 16)) {
		t.Fatalf("%s, %v", got, err)
	}
	if got.String() != "BwcHBwcHBwcHBwcHBwcHBw" {
		t.Fatalf("prints as %s", got)
	}
	if _, err := NewTopicID(strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("an id of five random bytes: %v", err)
	}
}
