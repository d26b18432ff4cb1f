// Package quietword is what a leader says when its group becomes quiet: the context of an append. raft's own contexts, of reads,
// are eight bytes, and heartbeats'.
//
//	offset  size  field
//	0       1     'Q': the leader is quiet from now on
//	1       8     its term, big-endian
//	9       8     the last index of its log, which is committed
package quietword

import (
	"encoding/binary"

	"ackline/broker/id"
)

const (
	kind = 'Q'
	size = 17
)

// Word is a context, decoded.
type Word struct {
	Term id.Term
	Last id.Index
}

// Bytes encodes it.
func (w Word) Bytes() []byte {
	b := append(make([]byte, 0, size), kind)
	b = binary.BigEndian.AppendUint64(b, uint64(w.Term))
	return binary.BigEndian.AppendUint64(b, uint64(w.Last))
}

// Parse decodes a context; false: it is another.
func Parse(b []byte) (w Word, ok bool) {
	if len(b) != size || b[0] != kind {
		return w, false
	}
	return Word{id.Term(binary.BigEndian.Uint64(b[1:])), id.Index(binary.BigEndian.Uint64(b[9:]))}, true
}
