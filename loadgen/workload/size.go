package workload

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Sizes is a distribution of sizes, in bytes:
//
//	1024                 all the same
//	100..2000            evenly from 100 to 2,000, both included
//	p50=300,p99=4000     log-normal: half are below 300 and one in a hundred above 4,000; cut off where one in ten thousand would be above
//	200:0.9,10000:0.1    200 nine times as often as 10,000
//
// The zero value is DefaultBytes.
type Sizes struct {
	text     string
	min, max int
	mu       float64 // of a log-normal; sigma is 0 for any other
	sigma    float64
	steps    []step // of a list
}

// step is one size of a list, for draws below upTo.
type step struct {
	bytes int
	upTo  float64
}

// maxBytes bounds a size that is written down: more is a slip of the pen.
const maxBytes = 1 << 30

const sizesWanted = "want bytes (1024), an interval (100..2000), percentiles (p50=300,p99=4000) or sizes with weights (200:0.9,10000:0.1)"

// ParseSizes reads the text form.
func ParseSizes(text string) (Sizes, error) {
	var s Sizes
	var err error
	t := strings.ReplaceAll(text, " ", "")
	switch {
	case strings.Contains(t, ".."):
		err = s.interval(t)
	case strings.HasPrefix(t, "p"):
		err = s.percentiles(t)
	case strings.Contains(t, ":"):
		err = s.list(t)
	default:
		s.min, err = number(t)
		s.max = s.min
	}
	if err != nil {
		return Sizes{}, fmt.Errorf("size %q: %w: %s", text, err, sizesWanted)
	}
	s.text = t
	return s, nil
}

// Fixed is the distribution of one size.
func Fixed(bytes int) Sizes { return Sizes{text: strconv.Itoa(bytes), min: bytes, max: bytes} }

func number(t string) (int, error) {
	n, err := strconv.Atoi(t)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", t)
	}
	if n < 0 || n > maxBytes {
		return 0, fmt.Errorf("%d is not within 0 to %d", n, maxBytes)
	}
	return n, nil
}

func (s *Sizes) interval(t string) (err error) {
	from, to, _ := strings.Cut(t, "..")
	if s.min, err = number(from); err != nil {
		return err
	}
	if s.max, err = number(to); err != nil {
		return err
	}
	if s.max < s.min {
		return fmt.Errorf("the interval ends at %d, before it begins at %d", s.max, s.min)
	}
	return nil
}

const (
	z99   = 2.3263478740408408 // the 99th percentile of a normal distribution
	z9999 = 3.719016485455709  // the 99.99th
)

func (s *Sizes) percentiles(t string) error {
	p50, p99, _ := strings.Cut(t, ",")
	a, okA := strings.CutPrefix(p50, "p50=")
	b, okB := strings.CutPrefix(p99, "p99=")
	if !okA || !okB {
		return fmt.Errorf("a log-normal distribution is given by p50 and p99, in this order")
	}
	half, err := number(a)
	if err != nil {
		return err
	}
	most, err := number(b)
	if err != nil {
		return err
	}
	if half < 1 || most <= half {
		return fmt.Errorf("p99 is %d, want more than p50, which is %d, and that more than 0", most, half)
	}
	s.mu = math.Log(float64(half))
	s.sigma = (math.Log(float64(most)) - s.mu) / z99
	s.max = int(math.Exp(s.mu + s.sigma*z9999))
	s.min = max(1, int(math.Exp(s.mu-s.sigma*z9999)))
	return nil
}

func (s *Sizes) list(t string) error {
	total := 0.0
	for _, part := range strings.Split(t, ",") {
		size, weight, ok := strings.Cut(part, ":")
		if !ok {
			return fmt.Errorf("%q has no weight", part)
		}
		n, err := number(size)
		if err != nil {
			return err
		}
		w, err := strconv.ParseFloat(weight, 64)
		if err != nil || !(w > 0) || math.IsInf(w, 0) {
			return fmt.Errorf("the weight %q of %d is not a number above 0", weight, n)
		}
		total += w
		s.steps = append(s.steps, step{n, total})
	}
	for i := range s.steps {
		s.steps[i].upTo /= total
	}
	byBytes := func(a, b step) int { return a.bytes - b.bytes }
	s.min, s.max = slices.MinFunc(s.steps, byBytes).bytes, slices.MaxFunc(s.steps, byBytes).bytes
	return nil
}

// AtLeast returns s with every smaller size replaced by bytes: the head of a value takes some, and a log-normal knows no least.
// A size that was written down is left as it is.
func (s Sizes) AtLeast(bytes int) Sizes {
	if s.sigma > 0 {
		s.min = max(s.min, bytes)
		s.max = max(s.max, bytes)
	}
	return s
}

// Min and Max are the smallest and the largest size.
func (s Sizes) Min() int {
	if s.IsZero() {
		return DefaultBytes
	}
	return s.min
}

// Max is the largest size.
func (s Sizes) Max() int {
	if s.IsZero() {
		return DefaultBytes
	}
	return s.max
}

// IsZero reports whether nothing was given.
func (s Sizes) IsZero() bool { return s.text == "" }

// at returns the size that a random number selects.
func (s *Sizes) at(r uint64) int {
	switch {
	case s.text == "":
		return DefaultBytes
	case s.min == s.max:
		return s.min
	case s.sigma > 0:
		n := int(math.Exp(s.mu + s.sigma*math.Sqrt2*math.Erfinv(2*unit(r)-1)))
		return min(max(n, s.min), s.max)
	case s.steps != nil:
		u := unit(r)
		for _, st := range s.steps {
			if u < st.upTo {
				return st.bytes
			}
		}
		return s.steps[len(s.steps)-1].bytes
	}
	return s.min + int(unit(r)*float64(s.max-s.min+1))
}

// String is the text form.
func (s Sizes) String() string {
	if s.IsZero() {
		return strconv.Itoa(DefaultBytes)
	}
	return s.text
}

// MarshalText returns the text form.
func (s Sizes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the text form.
func (s *Sizes) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSizes(string(text))
	return err
}
