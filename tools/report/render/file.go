// Package render turns the record of a bench run into RESULTS.md, a file for three readers at once.
//
// Results that a person can read are usually dead text: no program can compare two of them, and nobody can tell whether
// a figure was typed in or measured. Results that a program can read are not read by people. So one file holds the
// tables for people, lines that benchstat compares across commits as they are
// (benchstat <(git show A:RESULTS.md) RESULTS.md), and the raw data that both were computed from. Rendering is a pure
// function of that raw data: Check repeats it and compares byte for byte, so a figure that was touched by hand, or a
// record that was, does not pass.
package render

import (
	"bytes"
	"fmt"
	"strings"

	"ackline/tools/bench/record"
	"ackline/tools/report/page"
	"ackline/tools/report/payload"
)

// File renders RESULTS.md for a run; previous may be nil. Raw data that would exceed MaxPayload is left out step by
// step, and a note in the file says so.
func File(r *record.Results, previous *Previous) ([]byte, error) {
	d, packed, err := thin(&Document{Results: r, Previous: previous}, MaxPayload)
	if err != nil {
		return nil, err
	}
	return file(d, packed), nil
}

// Extract returns the document that a rendered file holds.
func Extract(file []byte) (*Document, error) {
	packed, err := payload.Extract(file)
	if err != nil {
		return nil, err
	}
	return unpack(packed)
}

// Check renders a file again from the raw data in it. The error names the first line that differs and both versions
// of it.
func Check(content []byte) error {
	packed, err := payload.Extract(content)
	if err != nil {
		return err
	}
	d, err := unpack(packed)
	if err != nil {
		return err
	}
	want := file(d, packed)
	if bytes.Equal(content, want) {
		return nil
	}
	got, again := strings.SplitAfter(string(content), "\n"), strings.SplitAfter(string(want), "\n")
	for i := range max(len(got), len(again)) {
		g, w := "", ""
		if i < len(got) {
			g = got[i]
		}
		if i < len(again) {
			w = again[i]
		}
		if g != w {
			return fmt.Errorf("line %d is not what the raw data gives:\n  in the file: %q\n  rendered:    %q\n"+
				"a figure was changed by hand, or the renderer was changed and `bin/report RESULTS.md -o RESULTS.md` not run", i+1, g, w)
		}
	}
	panic("render: two files differ, but none of their lines does")
}

// file is the whole page, section by section.
func file(d *Document, packed []byte) []byte {
	p := &page.Page{}
	v := newView(d)
	writePeople(p, v)
	writeBenchstat(p, v)
	writePayload(p, packed)
	return []byte(p.String())
}

// writePeople is the part of the page that people read.
func writePeople(p *page.Page, v *view) {
	writeHead(p, v)
	writeHeadline(p, v)
	writeBars(p, v)
	writeScenarios(p, v)
	writeOrigin(p, v)
	writeChange(p, v)
	writeMachine(p, v)
}
