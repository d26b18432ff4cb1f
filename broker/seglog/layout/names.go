package layout

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"ackline/broker/id"
)

// Kind is a kind of file in a log's directory. A file's name is an index in 20 digits, so that names sort as indexes do,
// and the extension of its kind. A segment's files are written and synced in the order of their kinds, rows last.
type Kind int

// The kinds of file.
const (
	Seg   Kind    = iota // .seg: the batches, exactly the bytes that a Fetch returns
	Ctl                  // .ctl: the payloads of entries that are not data, missing when there are none
	Idx                  // .idx: one row per entry
	Kinds                // how many files a segment has
	Low   = Kinds        // .low: empty; its name is the log's first index, and the only record of it that outlives retention
)

var extensions = [...]string{Seg: ".seg", Ctl: ".ctl", Idx: ".idx", Low: ".low"}

const nameDigits = 20 // of the largest 64-bit number

// Name returns the path of a file of the segment that begins with entry first.
func Name(dir string, first id.Index, k Kind) string {
	return path.Join(dir, fmt.Sprintf("%0*d%s", nameDigits, uint64(first), extensions[k]))
}

// ParseName takes a base name apart; false for one that no log would give.
func ParseName(name string) (first id.Index, k Kind, ok bool) {
	if len(name) < nameDigits || strings.Trim(name[:nameDigits], "0123456789") != "" {
		return 0, 0, false
	}
	n, err := strconv.ParseUint(name[:nameDigits], 10, 64)
	k = Kind(slices.Index(extensions[:], name[nameDigits:]))
	return id.Index(n), k, err == nil && k >= 0
}

// Listing is what a directory holds of a log.
type Listing struct {
	Lows     []id.Index // .low files
	Segments []id.Index // those with at least one file, ascending
	Files    []File     // of segments, in the order of names
}

// File is one file of a segment.
type File struct {
	First id.Index
	Kind  Kind
}

// List sorts base names, which must be in order.
func List(names []string) Listing {
	var l Listing
	for _, name := range names {
		first, k, ok := ParseName(name)
		switch {
		case !ok:
		case k == Low:
			l.Lows = append(l.Lows, first)
		default:
			if n := len(l.Segments); n == 0 || l.Segments[n-1] != first {
				l.Segments = append(l.Segments, first)
			}
			l.Files = append(l.Files, File{first, k})
		}
	}
	return l
}
