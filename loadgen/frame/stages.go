package frame

import "encoding/binary"

// StagesTag is the number of a private tagged field, "ackl". At the end of a Produce request it asks the broker how long the
// request's stages took; at the end of the response it tells. ackline's broker knows it; others pass over it, as the protocol
// has them do with every tag that they do not know.
const StagesTag = 0x61636b6c

// The field of a request is one byte, the highest version of the answer that is read here. The field of a response, big-endian:
//
//	offset  size  field
//	     0     1  version: 1
//	     1     8  decode
//	     9     8  propose
//	    17     8  queue
//	    25     8  sync
//	    33     8  quorum
//	    41     8  encode
//
// Each is in nanoseconds since the broker had read the request's last byte; -1 for a stage that was not passed.
const (
	stagesVersion   = 1
	stagesDecodeAt  = 1
	stagesProposeAt = 9
	stagesQueueAt   = 17
	stagesSyncAt    = 25
	stagesQuorumAt  = 33
	stagesEncodeAt  = 41
	stagesBytes     = 49
)

// Stages says when a request had passed each stage within the broker, in nanoseconds since it was read. -1: it did not.
type Stages struct {
	Decode  int64 // parsed and checked
	Propose int64 // handed to consensus
	Queue   int64 // the write to the log that took it in began
	Sync    int64 // that write was durable on this node
	Quorum  int64 // it was committed
	Encode  int64 // the response was encoded, the last thing before the socket
}

// appendStagesQuestion appends a body's tag section that asks for the stages and nothing else.
func appendStagesQuestion(b []byte) []byte {
	b = binary.AppendUvarint(append(b, 1), StagesTag)
	return append(b, 1, stagesVersion)
}

// stages reads a response's last tag section. What is not of the version that was asked for is no answer.
func (r *reader) stages() (s Stages, told bool) {
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		number, size := r.uvarint(), r.uvarint()
		at := r.at
		r.skip(size)
		if r.err != nil || number != StagesTag || size != stagesBytes || r.p[at] != stagesVersion {
			continue
		}
		ns := func(offset int) int64 { return int64(binary.BigEndian.Uint64(r.p[at+offset:])) }
		s, told = Stages{Decode: ns(stagesDecodeAt), Propose: ns(stagesProposeAt), Queue: ns(stagesQueueAt), Sync: ns(stagesSyncAt),
			Quorum: ns(stagesQuorumAt), Encode: ns(stagesEncodeAt)}, true
	}
	return s, told
}
