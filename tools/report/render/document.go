package render

import (
	"fmt"
	"slices"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/report/payload"
)

// Document is everything that a RESULTS.md is made from: the run and what is needed of the one before it.
type Document struct {
	Results  *record.Results `json:"results"`
	Previous *Previous       `json:"previous,omitempty"` // nil: there is nothing to compare with
}

// MaxPayload is the most that the folded raw data may take of a file, in bytes, newlines included: a repository keeps
// every version of it.
const MaxPayload = 512 << 10

// unpack reads what payload.Pack made of a document. It checks the record as record.Read would.
func unpack(packed []byte) (*Document, error) {
	d := &Document{}
	if err := payload.Unpack(packed, d); err != nil {
		return nil, err
	}
	if d.Results == nil {
		return nil, fmt.Errorf("raw data: holds no results")
	}
	return d, d.Results.Validate()
}

// writePayload is the last section of the file.
func writePayload(p *page.Page, packed []byte) {
	p.Heading(2, "Raw data")
	p.Text("Every figure above is computed from this: `bin/report --json RESULTS.md` prints it (fingerprint, profile digest, " +
		"seeds, the figures of each launch, compressed HDR histograms), `bin/report --check RESULTS.md` renders this file from it " +
		"and compares.")
	payload.Write(p, packed)
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
	packed, err := payload.Pack(d)
	if err != nil || payload.Size(packed) <= limit {
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
		if packed, err = payload.Pack(smaller); err != nil || payload.Size(packed) <= limit {
			return smaller, packed, err
		}
	}
	return nil, nil, fmt.Errorf("raw data: takes %d bytes without histograms and slices, at most %d are wanted in the file: "+
		"run fewer launches or scenarios", payload.Size(packed), limit)
}
