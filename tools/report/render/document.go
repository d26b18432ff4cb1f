package render

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
)

// Document is everything that a RESULTS.md is made from: the run and what is needed of the one before it.
type Document struct {
	Results  *record.Results `json:"results"`
	Previous *Previous       `json:"previous,omitempty"` // nil: there is nothing to compare with
}

// MaxPayload is the most that the folded raw data may take of a file, in bytes, newlines included: a repository keeps
// every version of it.
const MaxPayload = 512 << 10

// The raw data stands between these two lines, wrapped at payloadWidth. Base64 has neither spaces nor colons, so none
// of its lines means anything to benchstat.
const (
	payloadOpen  = "```ackline-results-gzip-base64"
	payloadClose = "```"
	payloadWidth = 100
)

// maxDecoded bounds what a payload may unpack to, so that a damaged file cannot fill the memory. The text of a run is
// about ten times its compressed size.
const maxDecoded = 256 << 20

// pack compresses a document. What it returns is kept as it is when a file is checked: another Go release may compress
// the same text to other bytes.
func pack(d *Document) ([]byte, error) {
	text, err := json.Marshal(d)
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

// unpack is the inverse of pack. It checks the record as record.Read would.
func unpack(packed []byte) (*Document, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("raw data: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxDecoded+1))
	if err != nil {
		return nil, fmt.Errorf("raw data: %w", err)
	}
	if len(text) > maxDecoded {
		return nil, fmt.Errorf("raw data: unpacks to more than %d bytes, want a run's record", maxDecoded)
	}
	d := &Document{}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("raw data: %w", err)
	}
	if d.Results == nil {
		return nil, fmt.Errorf("raw data: holds no results")
	}
	return d, d.Results.Validate()
}

// payloadSize is how many bytes packed data takes in the file.
func payloadSize(packed []byte) int {
	n := base64.StdEncoding.EncodedLen(len(packed))
	return n + (n+payloadWidth-1)/payloadWidth
}

// extract finds the packed data in a file.
func extract(file []byte) ([]byte, error) {
	_, rest, ok := strings.Cut(string(file), "\n"+payloadOpen+"\n")
	if !ok {
		return nil, fmt.Errorf("no raw data: want a line %q, as bin/report writes it", payloadOpen)
	}
	body, _, ok := strings.Cut(rest, "\n"+payloadClose+"\n")
	if !ok {
		return nil, fmt.Errorf("the raw data does not end: want a line %q after it", payloadClose)
	}
	packed, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
	if err != nil {
		return nil, fmt.Errorf("raw data: %w", err)
	}
	return packed, nil
}

// writePayload is the last section of the file.
func writePayload(p *page.Page, packed []byte) {
	p.Heading(2, "Raw data")
	p.Text("Every figure above is computed from this: `bin/report --json RESULTS.md` prints it (fingerprint, profile digest, " +
		"seeds, the figures of each launch, compressed HDR histograms), `bin/report --check RESULTS.md` renders this file from it " +
		"and compares.")
	p.Gap()
	p.Put("<details><summary>gzip, base64</summary>")
	p.Put("")
	p.Put(payloadOpen)
	text := base64.StdEncoding.EncodeToString(packed)
	for len(text) > 0 {
		n := min(len(text), payloadWidth)
		p.Put(text[:n])
		text = text[n:]
	}
	p.Put(payloadClose)
	p.Put("")
	p.Put("</details>")
}

// thinning is what is left out of the raw data, step by step, until it fits: first what explains, then what repeats,
// never a figure that a table shows.
var thinning = []struct {
	what string
	do   func(l *record.Launch)
}{
	{"the histograms of lag", dropHistograms("lag")},
	{"the histograms of backlog", dropHistograms("backlog")},
	{"the histograms of service time", dropHistograms("service")},
	{"the histograms of all launches but the first three", func(l *record.Launch) {
		if l.Number > 3 {
			l.Histograms = nil
		}
	}},
	{"the figures of single slices", func(l *record.Launch) { l.Slices = nil }},
	{"all histograms", func(l *record.Launch) { l.Histograms = nil }},
}

func dropHistograms(name string) func(l *record.Launch) {
	return func(l *record.Launch) {
		l.Histograms = slices.DeleteFunc(slices.Clone(l.Histograms), func(h record.Histogram) bool { return h.Name == name })
	}
}

// thin returns a document whose packed form takes at most limit bytes of the file, and that form. It does not change d.
func thin(d *Document, limit int) (*Document, []byte, error) {
	packed, err := pack(d)
	if err != nil || payloadSize(packed) <= limit {
		return d, packed, err
	}
	r := *d.Results
	r.Launches = slices.Clone(r.Launches)
	smaller := &Document{Results: &r, Previous: d.Previous}
	gone := []string{}
	for _, step := range thinning {
		for i := range r.Launches {
			step.do(&r.Launches[i])
		}
		gone = append(gone, step.what)
		r.Notes = append(slices.Clone(d.Results.Notes), fmt.Sprintf("To stay below %s the raw data in this file leaves out %s; "+
			"the run's own out directory has them.", size(float64(limit)), strings.Join(gone, ", ")))
		if packed, err = pack(smaller); err != nil || payloadSize(packed) <= limit {
			return smaller, packed, err
		}
	}
	return nil, nil, fmt.Errorf("raw data: takes %d bytes without histograms and slices, at most %d are wanted in the file: "+
		"run fewer launches or scenarios", payloadSize(packed), limit)
}
