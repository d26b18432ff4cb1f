package kwire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// MaxElements bounds the array elements and tags of one request. An element of one or two bytes on the wire becomes
// a structure of up to 80 bytes in memory and, with a tag, a map of 400 more, so that the frame's length alone does
// not bound what kmsg allocates; this does, to about 30 MiB. The largest honest request, a Fetch of every partition
// of a node, stays far below.
const MaxElements = 1 << 17

// A field describes a piece of a request body: what it is and in which versions it is there.
//
//	int8F … uuid   so many bytes
//	str            a string: int16 length, or uvarint length+1 in flexible versions; null allowed
//	blob           bytes: int32 length, or uvarint length+1; null allowed
//	list(f)        an array of f: int32 count, or uvarint count+1; null allowed
//	structs(f…)    an array of structures: the same, and each ends with a tag section in flexible versions
//	tag(n, f…)     what tag n of the surrounding structure holds; unknown tags are skipped
//
// Whether null is allowed in *this* place is left to kmsg and the handler: it costs nothing.
type field struct {
	kind   kind
	lo, hi int16 // versions, both included
	tag    uint32
	sub    []field
}

// A kind below kindStr is a size in bytes.
type kind uint8

const (
	kindStr kind = iota + 100
	kindBlob
	kindList
	kindStructs
	kindTag
	kindTagSection
)

var (
	int8F           = field{kind: 1, hi: math.MaxInt16}
	int16F          = field{kind: 2, hi: math.MaxInt16}
	int32F          = field{kind: 4, hi: math.MaxInt16}
	int64F          = field{kind: 8, hi: math.MaxInt16}
	uuid            = field{kind: 16, hi: math.MaxInt16}
	str             = field{kind: kindStr, hi: math.MaxInt16}
	blob            = field{kind: kindBlob, hi: math.MaxInt16}
	emptyTagSection = field{kind: kindTagSection, hi: math.MaxInt16}
)

func list(f field) field { return field{kind: kindList, hi: math.MaxInt16, sub: []field{f}} }

func structs(f ...field) field { return field{kind: kindStructs, hi: math.MaxInt16, sub: f} }

func tag(n uint32, f ...field) field {
	return field{kind: kindTag, hi: math.MaxInt16, tag: n, sub: f}
}

func (f field) from(v int16) field         { f.lo = v; return f }
func (f field) until(v int16) field        { f.hi = v; return f }
func (f field) between(lo, hi int16) field { f.lo, f.hi = lo, hi; return f }

// BoundError is a request body that does not fit its layout. The connection that sent it is closed, as Kafka does:
// there is no telling what the client meant.
type BoundError struct {
	Key, Version int16
	Length       int    // of the body
	Offset       int    // in the body, where the reading stopped
	Reason       string // what is wrong there
}

func (e *BoundError) Error() string {
	name := "request"
	if a := lookup(e.Key); a != nil {
		name = a.Name
	}
	return fmt.Sprintf("kwire: %s (key %d) version %d, byte %d of a body of %d: %s",
		name, e.Key, e.Version, e.Offset, e.Length, e.Reason)
}

// Bound checks that body has the layout of the request: every count and length fits the bytes that are left, no
// more than MaxElements elements, and nothing after the end. It takes time linear in len(body) and allocates only
// when it fails. The error is a *BoundError or a *VersionError.
func Bound(key, version int16, body []byte) error {
	a := lookup(key)
	if a == nil {
		return &VersionError{Key: key, Version: version, Min: 0, Max: -1}
	}
	if version < a.Min || version > a.Max {
		return &VersionError{Key: key, Version: version, Min: a.Min, Max: a.Max, Name: a.Name}
	}
	w := walker{b: body, version: version, flexible: version >= a.Flexible}
	reason := w.structure(a.layout)
	if reason == "" && len(w.b) > 0 {
		reason = fmt.Sprintf("%d bytes after the end of the request", len(w.b))
	}
	if reason != "" {
		return &BoundError{Key: key, Version: version, Length: len(body), Offset: len(body) - len(w.b), Reason: reason}
	}
	return nil
}

// walker steps over a body by its layout. Its methods return what is wrong, or "".
type walker struct {
	b        []byte // what is left
	version  int16
	flexible bool
	elements int
}

// structure steps over fields and, in flexible versions, the tag section behind them.
func (w *walker) structure(fields []field) string {
	if reason := w.fields(fields); reason != "" {
		return reason
	}
	if w.flexible {
		return w.tags(fields)
	}
	return ""
}

func (w *walker) fields(fields []field) string {
	for i := range fields {
		f := &fields[i]
		if w.version < f.lo || w.version > f.hi {
			continue
		}
		var reason string
		switch f.kind {
		case kindStr:
			reason = w.length(2)
		case kindBlob:
			reason = w.length(4)
		case kindList, kindStructs:
			reason = w.array(f)
		case kindTag: // read where the section is
		case kindTagSection:
			if w.flexible {
				reason = w.tags(nil)
			}
		default:
			reason = w.skip(int(f.kind))
		}
		if reason != "" {
			return reason
		}
	}
	return ""
}

func (w *walker) skip(n int) string {
	if n > len(w.b) {
		return fmt.Sprintf("%d bytes are needed, %d are left", n, len(w.b))
	}
	w.b = w.b[n:]
	return ""
}

// count reads a length or count of `width` bytes (or a uvarint, less one); -1 is null.
func (w *walker) count(width int) (int, string) {
	var n int
	switch {
	case w.flexible:
		u, size := uvarint(w.b)
		if size == 0 {
			return 0, "no varint of at most 32 bits"
		}
		w.b = w.b[size:]
		return int(u) - 1, ""
	case len(w.b) < width:
		return 0, fmt.Sprintf("%d bytes are needed, %d are left", width, len(w.b))
	case width == 2:
		n = int(int16(binary.BigEndian.Uint16(w.b)))
	default:
		n = int(int32(binary.BigEndian.Uint32(w.b)))
	}
	if n < -1 {
		return 0, fmt.Sprintf("length %d", n)
	}
	w.b = w.b[width:]
	return n, ""
}

// length steps over a string or bytes.
func (w *walker) length(width int) string {
	n, reason := w.count(width)
	if reason != "" || n <= 0 {
		return reason
	}
	return w.skip(n)
}

func (w *walker) array(f *field) string {
	n, reason := w.count(4)
	if reason != "" || n <= 0 {
		return reason
	}
	least := w.least(f)
	if n > len(w.b)/least {
		return fmt.Sprintf("an array of %d elements, of at least %d bytes each, where %d bytes are left", n, least, len(w.b))
	}
	if w.elements += n; w.elements > MaxElements {
		return fmt.Sprintf("more than %d array elements and tags", MaxElements)
	}
	for range n {
		if f.kind == kindStructs {
			reason = w.structure(f.sub)
		} else {
			reason = w.fields(f.sub)
		}
		if reason != "" {
			return reason
		}
	}
	return ""
}

// least returns the smallest size of an element of f in this version, at least 1.
func (w *walker) least(f *field) int {
	n := 0
	for i := range f.sub {
		s := &f.sub[i]
		if w.version < s.lo || w.version > s.hi {
			continue
		}
		switch s.kind {
		case kindTag:
		case kindStr, kindBlob, kindList, kindStructs:
			switch {
			case w.flexible:
				n++
			case s.kind == kindStr:
				n += 2
			default:
				n += 4
			}
		default:
			n += int(s.kind)
		}
	}
	if f.kind == kindStructs && w.flexible {
		n++
	}
	return max(n, 1)
}

// tags steps over a tag section; the content of those that fields knows is checked too.
func (w *walker) tags(fields []field) string {
	n, size := uvarint(w.b)
	if size == 0 {
		return "no varint of at most 32 bits for the number of tags"
	}
	w.b = w.b[size:]
	if int64(n) > int64(len(w.b)/2) {
		return fmt.Sprintf("%d tags, of at least 2 bytes each, where %d bytes are left", n, len(w.b))
	}
	if w.elements += int(n); w.elements > MaxElements {
		return fmt.Sprintf("more than %d array elements and tags", MaxElements)
	}
	for range n {
		number, size := uvarint(w.b)
		if size == 0 {
			return "no varint of at most 32 bits for a tag"
		}
		w.b = w.b[size:]
		length, size := uvarint(w.b)
		if size == 0 {
			return "no varint of at most 32 bits for the size of a tag"
		}
		w.b = w.b[size:]
		if int64(length) > int64(len(w.b)) {
			return fmt.Sprintf("tag %d of %d bytes where %d are left", number, length, len(w.b))
		}
		if reason := w.tag(fields, number, int(length)); reason != "" {
			return reason
		}
	}
	return ""
}

// tag steps over the content of one tag. kmsg reads the tags that it knows whatever the version, so no version is
// asked for here either.
func (w *walker) tag(fields []field, number uint32, length int) string {
	for i := range fields {
		if fields[i].kind != kindTag || fields[i].tag != number {
			continue
		}
		inner := walker{b: w.b[:length], version: w.version, flexible: w.flexible, elements: w.elements}
		reason := inner.fields(fields[i].sub)
		w.elements = inner.elements
		if reason == "" && len(inner.b) > 0 {
			reason = fmt.Sprintf("tag %d: %d bytes after its end", number, len(inner.b))
		}
		if reason != "" {
			return reason
		}
		break
	}
	w.b = w.b[length:]
	return ""
}

// uvarint reads at most 32 bits; size 0 says that there is no such number.
func uvarint(b []byte) (v uint32, size int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	for i := 0; i < len(b) && i < 5; i++ {
		if i == 4 && b[i] > 0x0f {
			return 0, 0
		}
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
