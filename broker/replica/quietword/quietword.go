// Package quietword is what the replicas of a group say about becoming quiet: the context of a heartbeat or its answer. raft's
// own contexts, of reads, are eight bytes.
//
//	offset  size  field
//	0       1     'q': a leader asks, and who agrees answers so; 'Q': it is quiet from now on
//	1       8     the leader's term, big-endian
//	9       8     the last index of its log
package quietword

import (
	"encoding/binary"

	"ackline/broker/id"
)

// The kinds of words.
const (
	Ask = 'q'
	Now = 'Q'
)

const size = 17

// Word is a context, decoded.
type Word struct {
	Kind byte
	Term id.Term
	Last id.Index
}

// Bytes encodes it.
func (w Word) Bytes() []byte {
	b := append(make([]byte, 0, size), w.Kind)
	b = binary.BigEndian.AppendUint64(b, uint64(w.Term))
	return binary.BigEndian.AppendUint64(b, uint64(w.Last))
}

// Parse decodes a context; false: it is another.
func Parse(b []byte) (w Word, ok bool) {
	if len(b) != size || b[0] != Ask && b[0] != Now {
		return w, false
	}
	return Word{b[0], id.Term(binary.BigEndian.Uint64(b[1:])), id.Index(binary.BigEndian.Uint64(b[9:]))}, true
}
