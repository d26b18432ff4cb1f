// Package forward is the form of the call by which a node has batches proposed that were sent to it and that another leads.
package forward

import (
	"encoding/binary"
	"errors"

	"ackline/broker/id"
)

// A call, little-endian. Its answer has, for each batch in order, its code 2, base offset 8, log start 8, and a message with its
// length in two bytes.
//
//	offset  size  field
//	0       1     version, 1
//	1       8     group
//	9       4     number of batches
//	13      ...   each: how long its producer waits, in ms, 4; length 4; bytes
const (
	version   = 1
	head      = 13
	each      = 8
	replyEach = 20
)

// maxMessage bounds a Reply's message, in bytes.
const maxMessage = 1 << 10

// Batch is a record batch, and how long its producer waits for an answer, in ms.
type Batch struct {
	WaitMs  int32
	Records []byte
}

// Reply is what became of a batch. Code is Kafka's; Base and LogStart are -1 when it is not 0.
type Reply struct {
	Code     int16
	Base     id.Offset
	LogStart id.Offset
	Message  string
}

// ErrMalformed is of a call or an answer that cannot be read.
var ErrMalformed = errors.New("a forwarded produce that cannot be read")

// Call encodes a call: these batches of a group's partition, in order.
func Call(g id.GroupID, batches []Batch) []byte {
	le := binary.LittleEndian
	size := head
	for i := range batches {
		size += each + len(batches[i].Records)
	}
	b := append(make([]byte, 0, size), version)
	b = le.AppendUint64(b, uint64(g))
	b = le.AppendUint32(b, uint32(len(batches)))
	for i := range batches {
		b = le.AppendUint32(b, uint32(batches[i].WaitMs))
		b = le.AppendUint32(b, uint32(len(batches[i].Records)))
		b = append(b, batches[i].Records...)
	}
	return b
}

// ParseCall reads a call. The records are slices of b. The error is ErrMalformed.
func ParseCall(b []byte) (g id.GroupID, batches []Batch, err error) {
	le := binary.LittleEndian
	if len(b) < head || b[0] != version {
		return 0, nil, ErrMalformed
	}
	g = id.GroupID(le.Uint64(b[1:]))
	n := int64(le.Uint32(b[9:]))
	b = b[head:]
	if n == 0 || n > int64(len(b)/each) {
		return 0, nil, ErrMalformed
	}
	for range n {
		if len(b) < each || uint64(le.Uint32(b[4:])) > uint64(len(b)-each) {
			return 0, nil, ErrMalformed
		}
		end := each + int(le.Uint32(b[4:]))
		batches = append(batches, Batch{int32(le.Uint32(b) & (1<<31 - 1)), b[each:end]})
		b = b[end:]
	}
	if len(b) > 0 {
		return 0, nil, ErrMalformed
	}
	return g, batches, nil
}

// Append appends a reply to an answer. Of a message that is longer than 1 KiB the rest is left out.
func (r *Reply) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint16(b, uint16(r.Code))
	b = le.AppendUint64(b, uint64(r.Base))
	b = le.AppendUint64(b, uint64(r.LogStart))
	message := r.Message[:min(len(r.Message), maxMessage)]
	b = le.AppendUint16(b, uint16(len(message)))
	return append(b, message...)
}

// Refused is the answer to a call of n batches none of which was proposed.
func Refused(n int, code int16) (b []byte) {
	r := Reply{Code: code, Base: -1, LogStart: -1}
	for range n {
		b = r.Append(b)
	}
	return b
}

// ParseReplies reads the answer to a call of len(replies) batches into them. The error is ErrMalformed.
func ParseReplies(b []byte, replies []Reply) error {
	le := binary.LittleEndian
	for i := range replies {
		if len(b) < replyEach || int(le.Uint16(b[18:])) > len(b)-replyEach {
			return ErrMalformed
		}
		end := replyEach + int(le.Uint16(b[18:]))
		replies[i] = Reply{int16(le.Uint16(b)), id.Offset(le.Uint64(b[2:])), id.Offset(le.Uint64(b[10:])), string(b[replyEach:end])}
		b = b[end:]
	}
	if len(b) > 0 {
		return ErrMalformed
	}
	return nil
}
