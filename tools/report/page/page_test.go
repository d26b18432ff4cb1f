package page

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/perf/benchfmt"
)

// benchstatReads asks benchstat's own parser: does the line carry a result, a unit, a complaint, or configuration for
// the result after it?
func benchstatReads(line string) bool {
	key, value, _ := strings.Cut(line, ":")
	before := ""
	if strings.Trim(value, " \t") == "" { // such a line deletes the key, so it has to be there before
		before = key + ": before\n"
	}
	configured, records := configures(before+line+"\n", key)
	if before != "" {
		if had, _ := configures(before, key); had && !configured {
			return true
		}
	} else if configured {
		return true
	}
	return records != 1
}

// configures tells whether key is configured for a benchmark after text, and how many records there are with that one.
func configures(text, key string) (configured bool, records int) {
	r := benchfmt.NewReader(strings.NewReader(text+"BenchmarkX 1 1 y\n"), "x")
	for r.Scan() {
		records++
		if res, ok := r.Result().(*benchfmt.Result); ok {
			_, configured = res.ConfigIndex(key)
		}
	}
	return configured, records
}

func FuzzSpecial(f *testing.F) {
	for _, s := range []string{"Benchmark", "BenchmarkX 1 2 ns/op", "Benchmarks are", "Unit", "Unit x better=lower", "Units", "key: value",
		"key:", "key:\tvalue", "key:value", "Key: value", "key word: value", "µs: 5", "- key: value", " key: value", "http://x", ": x", "", "é:x y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") || len(line) > 1000 {
			return // page never writes such a line
		}
		// The name of a benchmark that stands alone is skipped by benchstat; page avoids it all the same.
		if strings.HasPrefix(line, "Benchmark") || strings.HasPrefix(line, "Unit") {
			if benchstatReads(line) && !Special(line) {
				t.Errorf("%q is data for benchstat and not special", line)
			}
			return
		}
		if got, want := Special(line), benchstatReads(line); got != want {
			t.Errorf("Special(%q) is %v, benchstat's parser says %v", line, got, want)
		}
	})
}

// Whatever text arrives, no line is too long or means anything to benchstat, and no word is lost.
func FuzzText(f *testing.F) {
	f.Add("note: wraps " + strings.Repeat("to key: x ", 40))
	f.Add(strings.Repeat("ä", 400) + " Unit Benchmark <details>")
	f.Fuzz(func(t *testing.T, text string) {
		p := &Page{}
		p.Text("%s", text)
		p.Item("%s", text)
		p.Heading(2, text)
		p.Table([]string{"a", "b"}, [][]string{{text, "x"}, {"y", text + text}})
		for line := range strings.SplitSeq(p.String(), "\n") {
			if len(line) > MaxLine || Special(line) || !utf8.ValidString(line) {
				t.Errorf("%d bytes: %q", len(line), line)
			}
		}
		q := &Page{}
		q.Text("%s", text)
		squeeze := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if got, want := squeeze(q.String()), squeeze(Clean(text)); got != want {
			t.Errorf("text became %q, want %q", got, want)
		}
	})
}

func TestPutRefuses(t *testing.T) {
	for _, line := range []string{strings.Repeat("x", MaxLine+1), "key: value", "Benchmark", "a\nb"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was written", line)
				}
			}()
			(&Page{}).Put(line)
		}()
	}
}
