package workload

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Keys is a distribution of keys. A key is a number, written as KeyBytes hexadecimal digits.
//
//	none               records have no key
//	sequential         each record has a key of its own, in order
//	sequential:1000    the same 1,000 keys again and again, in order
//	uniform:1000       one of 1,000 keys, each as often
//	zipf:1000,1.2      one of 1,000 keys, number k in proportion to 1/k^1.2; without an exponent 1
//
// The zero value is none.
type Keys struct {
	text string
	kind keyKind
	n    uint64 // how many there are; 0: without end
	zipf zipf
}

type keyKind uint8

const (
	noKeys keyKind = iota
	sequentialKeys
	uniformKeys
	zipfKeys
)

const (
	// KeyBytes is the length of every key.
	KeyBytes = 16
	maxKeys  = 1 << 40
)

const keysWanted = "want none, sequential, sequential:N, uniform:N or zipf:N,EXPONENT"

// ParseKeys reads the text form.
func ParseKeys(text string) (Keys, error) {
	t := strings.ReplaceAll(text, " ", "")
	kind, rest, more := strings.Cut(t, ":")
	k := Keys{text: t}
	var err error
	switch kind {
	case "none", "":
		if more {
			return Keys{}, fmt.Errorf("key %q: none has no number: %s", text, keysWanted)
		}
		return Keys{}, nil
	case "sequential":
		if k.kind = sequentialKeys; more {
			k.n, err = keyCount(rest)
		}
	case "uniform":
		k.kind = uniformKeys
		k.n, err = keyCount(rest)
	case "zipf":
		k.kind = zipfKeys
		count, exponent, given := strings.Cut(rest, ",")
		s := 1.0
		if k.n, err = keyCount(count); err == nil && given {
			s, err = strconv.ParseFloat(exponent, 64)
			if err != nil || !(s >= minExponent && s <= maxExponent) {
				err = fmt.Errorf("the exponent is %q, want %g to %g", exponent, minExponent, maxExponent)
			}
		}
		k.zipf = newZipf(k.n, s)
	default:
		err = errors.New("there is no such distribution of keys")
	}
	if err != nil {
		return Keys{}, fmt.Errorf("key %q: %w: %s", text, err, keysWanted)
	}
	return k, nil
}

func keyCount(t string) (uint64, error) {
	n, err := strconv.ParseUint(t, 10, 64)
	if err != nil || n < 1 || n > maxKeys {
		return 0, fmt.Errorf("the number of keys is %q, want 1 to %d", t, uint64(maxKeys))
	}
	return n, nil
}

// IsZero reports whether records have no keys.
func (k Keys) IsZero() bool { return k.kind == noKeys }

// number returns the key that a random number selects, or the record's place in its stream.
func (k *Keys) number(r uint64, stream uint32, seq uint64) uint64 {
	switch k.kind {
	case uniformKeys:
		return min(uint64(unit(r)*float64(k.n)), k.n-1)
	case zipfKeys:
		return k.zipf.rank(r) - 1
	}
	if k.n > 0 {
		return seq % k.n
	}
	return uint64(stream)<<40 | seq&(1<<40-1)
}

func (k *Keys) append(dst []byte, r uint64, stream uint32, seq uint64) []byte {
	if k.kind == noKeys {
		return dst
	}
	n := k.number(r, stream, seq)
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return dst
}

// String is the text form.
func (k Keys) String() string {
	if k.IsZero() {
		return "none"
	}
	return k.text
}

// MarshalText returns the text form.
func (k Keys) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the text form.
func (k *Keys) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKeys(string(text))
	return err
}

const (
	minExponent = 0.01
	maxExponent = 10.0
)

// zipf draws ranks 1 to n with probabilities in proportion to rank^-s, by rejection-inversion (W. Hörmann, G. Derflinger, Rejection-inversion to generate
// variates from monotone discrete distributions, ACM TOMACS 6, 1996): no table, and less than two numbers a draw for every n and s.
type zipf struct {
	n, s              float64
	first, last, sure float64
}

func newZipf(n uint64, s float64) zipf {
	z := zipf{n: float64(n), s: s}
	z.first = z.area(1.5) - 1
	z.last = z.area(z.n + 0.5)
	z.sure = 2 - z.point(z.area(2.5)-math.Pow(2, -s))
	return z
}

// area is the integral of x^-s from 1 on, and point its inverse. Both are written so that they hold at s = 1 and around it.
func (z *zipf) area(x float64) float64 {
	l := math.Log(x)
	return l * ratio(math.Expm1, (1-z.s)*l)
}

func (z *zipf) point(area float64) float64 {
	return math.Exp(area * ratio(math.Log1p, max((1-z.s)*area, -1)))
}

// ratio is f(x)/x for a function that is x near 0.
func ratio(f func(float64) float64, x float64) float64 {
	if math.Abs(x) < 1e-12 {
		return 1
	}
	return f(x) / x
}

func (z *zipf) rank(r uint64) uint64 {
	for {
		u := z.last + unit(r)*(z.first-z.last)
		x := z.point(u)
		k := min(max(math.Floor(x+0.5), 1), z.n)
		if k-x <= z.sure || u >= z.area(k+0.5)-math.Pow(k, -z.s) {
			return uint64(k)
		}
		r = Mix(r + golden)
	}
}
