// Package payload puts raw data into a Markdown file and takes it out again.
//
// A page of figures that does not hold what they were computed from is a claim. The data is compressed and written as lines
// that mean nothing to any other reader of the page: base64 has neither spaces nor colons, so that benchstat passes over it.
package payload

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"ackline/tools/report/page"
)

// The data stands between these two lines, wrapped at width.
const (
	opening = "```ackline-results-gzip-base64"
	closing = "```"
	width   = 100
)

// maxDecoded bounds what a payload may unpack to, so that a damaged file cannot fill the memory. The text of a run is
// about ten times its compressed size.
const maxDecoded = 256 << 20

// Pack compresses v as JSON. What it returns is kept as it is when a file is checked: another Go release may compress
// the same text to other bytes.
func Pack(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("raw data: %w", err)
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Unpack is the inverse of Pack.
func Unpack(packed []byte, v any) error {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("raw data: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxDecoded+1))
	if err != nil {
		return fmt.Errorf("raw data: %w", err)
	}
	if len(text) > maxDecoded {
		return fmt.Errorf("raw data: unpacks to more than %d bytes, want a run's record", maxDecoded)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("raw data: %w", err)
	}
	return nil
}

// Size is how many bytes packed data takes in the file.
func Size(packed []byte) int {
	n := base64.StdEncoding.EncodedLen(len(packed))
	return n + (n+width-1)/width
}

// Extract finds the packed data in a file.
func Extract(file []byte) ([]byte, error) {
	_, rest, ok := strings.Cut(string(file), "\n"+opening+"\n")
	if !ok {
		return nil, fmt.Errorf("no raw data: want a line %q, as bin/report writes it", opening)
	}
	body, _, ok := strings.Cut(rest, "\n"+closing+"\n")
	if !ok {
		return nil, fmt.Errorf("the raw data does not end: want a line %q after it", closing)
	}
	packed, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil {
		return nil, fmt.Errorf("raw data: %w", err)
	}
	return packed, nil
}

// Write puts packed data into a page, folded.
func Write(p *page.Page, packed []byte) {
	p.Gap()
	p.Put("<details><summary>gzip, base64</summary>")
	p.Put("")
	p.Put(opening)
	text := base64.StdEncoding.EncodeToString(packed)
	for len(text) > 0 {
		n := min(len(text), width)
		p.Put(text[:n])
		text = text[n:]
	}
	p.Put(closing)
	p.Put("")
	p.Put("</details>")
}
