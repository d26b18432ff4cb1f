package payload

import (
	"strings"
	"testing"

	"ackline/tools/report/page"
)

func TestRoundTrip(t *testing.T) {
	text := strings.Repeat("Benchmark: a line that benchstat would read. ", 200)
	packed, err := Pack(text)
	if err != nil {
		t.Fatal(err)
	}
	p := &page.Page{}
	p.Heading(1, "Results")
	before := len(p.String())
	Write(p, packed)
	file := p.String()
	_, body, _ := strings.Cut(file, opening+"\n")
	body, _, _ = strings.Cut(body, closing)
	if len(body) != Size(packed) || before == len(file) {
		t.Errorf("the data takes %d bytes, Size says %d", len(body), Size(packed))
	}
	again, err := Extract([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if err := Unpack(again, &got); err != nil || got != text {
		t.Errorf("%v, %d characters, want the %d that were packed", err, len(got), len(text))
	}
	for what, damaged := range map[string]string{
		"no raw data":      strings.Replace(file, opening, "```", 1),
		"does not end":     file[:len(file)-len(closing+"\n\n</details>\n")],
		"illegal base64":   strings.Replace(file, body[:4], "!!!!", 1),
		"invalid header":   strings.Replace(file, body[:4], "AAAA", 1),
		"unexpected EOF":   strings.Replace(file, body, body[:8]+"\n", 1),
		"cannot unmarshal": "",
	} {
		err := damage(damaged, packed)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
}

// damage reads a file that somebody damaged, or, without one, the data as something that it is not.
func damage(file string, packed []byte) error {
	if file == "" {
		return Unpack(packed, &struct{}{})
	}
	packed, err := Extract([]byte(file))
	if err != nil {
		return err
	}
	got := ""
	return Unpack(packed, &got)
}
