package workload

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestTextForms(t *testing.T) {
	for _, text := range []string{"1024", "100..2000", "p50=300,p99=4000", "200:0.9,10000:0.1"} {
		s, err := ParseSizes(text)
		if err != nil || s.String() != text {
			t.Errorf("size %q reads as %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"none", "sequential", "sequential:9", "uniform:1000", "zipf:1000,1.2", "zipf:5"} {
		k, err := ParseKeys(text)
		if err != nil || k.String() != text {
			t.Errorf("key %q reads as %v, %v", text, k, err)
		}
	}
	for _, text := range []string{"none", "2x64", "100x0"} {
		h, err := ParseHeaders(text)
		if err != nil || h.String() != text {
			t.Errorf("headers %q read as %v, %v", text, h, err)
		}
	}
	if s, err := ParseSizes(" 24 .. 30 "); err != nil || s.Min() != 24 || s.Max() != 30 {
		t.Errorf("spaces: %v, %v", s, err)
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	size := func(s string) error { _, err := ParseSizes(s); return err }
	key := func(s string) error { _, err := ParseKeys(s); return err }
	headers := func(s string) error { _, err := ParseHeaders(s); return err }
	for _, c := range []struct {
		parse func(string) error
		text  string
		says  string
	}{
		{size, "", "not a whole number"},
		{size, "1k", `"1k" is not a whole number`},
		{size, "-5", "not within 0"},
		{size, "9999999999", "not within 0"},
		{size, "20..10", "ends at 10, before it begins at 20"},
		{size, "20..", "not a whole number"},
		{size, "p50=300", "p50 and p99, in this order"},
		{size, "p50=300,p99=300", "p99 is 300, want more than p50"},
		{size, "p50=0,p99=300", "that more than 0"},
		{size, "200:0.9,10000", `"10000" has no weight`},
		{size, "200:-1", `weight "-1" of 200`},
		{size, "200:NaN", `weight "NaN" of 200`},
		{size, "200:Inf", `weight "Inf" of 200`},
		{key, "gauss:5", "no such distribution"},
		{key, "none:5", "none has no number"},
		{key, "uniform", `number of keys is ""`},
		{key, "uniform:0", `number of keys is "0"`},
		{key, "zipf:10,x", `exponent is "x"`},
		{key, "zipf:10,0", `exponent is "0"`},
		{key, "zipf:10,NaN", `exponent is "NaN"`},
		{headers, "2", "COUNTxBYTES"},
		{headers, "101x1", "at most 100 headers"},
		{headers, "1x-1", "COUNTxBYTES"},
	} {
		if err := c.parse(c.text); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "want") {
			t.Errorf("%q: %v; want an error that says %q and what would be right", c.text, err, c.says)
		}
	}
	for _, c := range []struct {
		shape Shape
		says  string
	}{
		{Shape{Size: Fixed(10)}, "smallest is 10, want 24 to 1000"}, {Shape{Size: Fixed(1001)}, "largest is 1001"},
		{Shape{Size: Fixed(24), Ratio: 0.5}, "ratio 0.5"}, {Shape{Size: Fixed(24), Ratio: 100}, "ratio 100"}, {Shape{Size: Fixed(24), Ratio: math.NaN()}, "ratio NaN"},
	} {
		if err := c.shape.Validate(24, 1000); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.shape, err, c.says)
		}
	}
}

// drawn returns sorted sizes.
func drawn(t *testing.T, text string, n int) []int {
	t.Helper()
	size, err := ParseSizes(text)
	if err != nil {
		t.Fatal(err)
	}
	s := Shape{Size: size}
	out := make([]int, n)
	for i := range out {
		out[i] = s.Bytes(7, 3, uint64(i))
		if out[i] < size.Min() || out[i] > size.Max() {
			t.Fatalf("%s: %d is not within %d to %d", text, out[i], size.Min(), size.Max())
		}
	}
	slices.Sort(out)
	return out
}

// within says whether got is want, give or take a part of it.
func within(got, want, part float64) bool { return math.Abs(got-want) <= part*want }

func TestSizes(t *testing.T) {
	const n = 100_000
	if v := drawn(t, "300", 10); v[0] != 300 || v[9] != 300 {
		t.Errorf("300: %v", v)
	}
	v := drawn(t, "100..200", n)
	if v[0] != 100 || v[n-1] != 200 || !within(float64(v[n/2]), 150, 0.02) || !within(float64(v[n/10]), 110, 0.02) {
		t.Errorf("100..200: %d, %d, %d, %d", v[0], v[n/10], v[n/2], v[n-1])
	}
	v = drawn(t, "p50=300,p99=4000", n)
	if !within(float64(v[n/2]), 300, 0.03) || !within(float64(v[n*99/100]), 4000, 0.06) {
		t.Errorf("log-normal: p50 %d, p99 %d", v[n/2], v[n*99/100])
	}
	v = drawn(t, "200:9,10000:1", n)
	small, _ := slices.BinarySearch(v, 201)
	if v[0] != 200 || v[n-1] != 10_000 || !within(float64(small), 0.9*n, 0.01) {
		t.Errorf("200:9,10000:1: %d of %d are 200", small, n)
	}
	if low := must(ParseSizes("p50=30,p99=4000")).AtLeast(24); low.Min() != 24 {
		t.Errorf("a log-normal of at least 24 has %d", low.Min())
	}
	if low := must(ParseSizes("10..20")).AtLeast(24); low.Min() != 10 {
		t.Errorf("an interval of at least 24 begins at %d: what was written down stays", low.Min())
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// counts draws keys and counts them.
func counts(t *testing.T, text string, n int) map[string]int {
	t.Helper()
	s := Shape{Key: must(ParseKeys(text))}
	out := map[string]int{}
	for i := range n {
		k := s.AppendKey(nil, 7, 3, uint64(i))
		if len(k) != KeyBytes {
			t.Fatalf("%s: a key of %d bytes", text, len(k))
		}
		out[string(k)]++
	}
	return out
}

func TestKeys(t *testing.T) {
	const n = 200_000
	if k := (&Shape{}).AppendKey(nil, 1, 2, 3); k != nil {
		t.Errorf("no keys: %q", k)
	}
	if c := counts(t, "sequential", 1000); len(c) != 1000 {
		t.Errorf("sequential: %d keys of 1000 records", len(c))
	}
	s := Shape{Key: must(ParseKeys("sequential"))}
	if a, b := s.AppendKey(nil, 1, 2, 3), s.AppendKey(nil, 1, 3, 3); bytes.Equal(a, b) {
		t.Error("two streams have the same sequential keys")
	}
	c := counts(t, "sequential:10", 1000)
	if len(c) != 10 || c["0000000000000009"] != 100 {
		t.Errorf("sequential:10: %v", c)
	}
	c = counts(t, "uniform:100", n)
	if len(c) != 100 {
		t.Errorf("uniform:100: %d keys", len(c))
	}
	for k, got := range c {
		if !within(float64(got), n/100, 0.15) {
			t.Errorf("uniform:100: %s %d times", k, got)
		}
	}
}

func TestZipf(t *testing.T) {
	const n = 400_000
	for _, c := range []struct {
		text string
		keys int
		s    float64
	}{{"zipf:1000,1.2", 1000, 1.2}, {"zipf:1000", 1000, 1}, {"zipf:50,0.5", 50, 0.5}, {"zipf:10,3", 10, 3}, {"zipf:1,1", 1, 1}, {"zipf:2", 2, 1}} {
		sum := 0.0
		for k := 1; k <= c.keys; k++ {
			sum += math.Pow(float64(k), -c.s)
		}
		got := counts(t, c.text, n)
		if len(got) > c.keys {
			t.Errorf("%s: %d keys", c.text, len(got))
		}
		for k := 1; k <= min(c.keys, 10); k++ {
			key := Shape{Key: must(ParseKeys("sequential:1099511627776"))}
			name := key.AppendKey(nil, 0, 0, uint64(k-1))
			want := n * math.Pow(float64(k), -c.s) / sum
			if d := math.Abs(float64(got[string(name)]) - want); d > 5*math.Sqrt(want)+1 {
				t.Errorf("%s: key %d came %d times, want %.0f", c.text, k, got[string(name)], want)
			}
		}
	}
}

// Every part of a record depends on seed, stream and sequence number, and on nothing else.
func TestPure(t *testing.T) {
	s := Shape{Size: must(ParseSizes("24..100000")), Key: must(ParseKeys("uniform:1000000000")), Headers: Headers{2, 20}, Ratio: 2}
	parts := func(seed uint64, stream uint32, seq uint64) []string {
		h0, h1, body := make([]byte, 20), make([]byte, 20), make([]byte, 500)
		s.HeaderValue(h0, seed, stream, seq, 0)
		s.HeaderValue(h1, seed, stream, seq, 1)
		s.Fill(body, seed, stream, seq)
		size := string(rune(s.Bytes(seed, stream, seq)))
		return []string{size, string(s.AppendKey(nil, seed, stream, seq)), string(h0), string(h1), string(body)}
	}
	one := parts(1, 2, 3)
	if !slices.Equal(one, parts(1, 2, 3)) {
		t.Error("the same record is drawn differently")
	}
	for _, other := range [][]string{parts(2, 2, 3), parts(1, 3, 3), parts(1, 2, 4)} {
		for i := range one {
			if one[i] == other[i] {
				t.Errorf("part %d is the same in another record", i)
			}
		}
	}
	if one[2] == one[3] {
		t.Error("two headers have the same value")
	}
}

// What is read is written so that it reads the same, and draws stay within what the distribution says.
func FuzzText(f *testing.F) {
	for _, s := range []string{"1024", "100..2000", "p50=300,p99=4000", "200:0.9,10000:0.1", "none", "sequential:9", "uniform:10", "zipf:1000,1.2", "zipf:3,0.01", "2x64", "1:1e-300,2:1e300"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSizes(text); err == nil {
			again, err := ParseSizes(s.String())
			if n := (&Shape{Size: s}).Bytes(1, 2, 3); err != nil || again.String() != s.String() || n < s.Min() || n > s.Max() {
				t.Errorf("%q reads as %s, and that as %s, %v; %d is drawn from %d to %d", text, s, again, err, n, s.Min(), s.Max())
			}
		}
		if k, err := ParseKeys(text); err == nil {
			again, err := ParseKeys(k.String())
			if n := k.number(Mix(1), 2, 3); err != nil || again.String() != k.String() || k.n > 0 && n >= k.n {
				t.Errorf("%q reads as %s, and that as %s, %v; key %d of %d", text, k, again, err, n, k.n)
			}
		}
		if h, err := ParseHeaders(text); err == nil {
			if again, err := ParseHeaders(h.String()); err != nil || again != h {
				t.Errorf("%q reads as %s, and that as %s, %v", text, h, again, err)
			}
		}
	})
}
