package workload

import (
	"fmt"
	"strconv"
	"strings"
)

// Headers are the headers of each record: COUNTxBYTES, as 2x64 for two with values of 64 bytes; "0" or "none" for none. They are named h0, h1 and so on.
// The zero value is none.
type Headers struct {
	Count int // 0 to MaxHeaders
	Bytes int // of each value
}

const (
	// MaxHeaders bounds the headers of a record.
	MaxHeaders     = 100
	maxHeaderBytes = 1 << 20
)

// ParseHeaders reads the text form.
func ParseHeaders(text string) (Headers, error) {
	t := strings.ReplaceAll(text, " ", "")
	if t == "" || t == "0" || t == "none" {
		return Headers{}, nil
	}
	count, bytes, ok := strings.Cut(t, "x")
	n, err := strconv.Atoi(count)
	size, err2 := strconv.Atoi(bytes)
	if !ok || err != nil || err2 != nil || n < 0 || n > MaxHeaders || size < 0 || size > maxHeaderBytes {
		return Headers{}, fmt.Errorf("headers %q: want COUNTxBYTES, such as 2x64, of at most %d headers of %d bytes, or none", text, MaxHeaders, maxHeaderBytes)
	}
	if n == 0 {
		size = 0
	}
	return Headers{n, size}, nil
}

// headerNames are the names of all headers, one behind the other, so that a name costs no allocation.
var headerNames = func() (out [MaxHeaders]string) {
	for i := range out {
		out[i] = "h" + strconv.Itoa(i)
	}
	return out
}()

// HeaderName is the name of header number i.
func HeaderName(i int) string { return headerNames[i] }

// IsZero reports whether there are none.
func (h Headers) IsZero() bool { return h.Count == 0 }

// String is the text form.
func (h Headers) String() string {
	if h.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%dx%d", h.Count, h.Bytes)
}

// MarshalText returns the text form.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the text form.
func (h *Headers) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHeaders(string(text))
	return err
}
