package kwire

import "encoding/binary"

// A client may ask how long the stages of its Produce request took on this node: with a private tagged field at the end of
// the request's body, versions 9 to 11. It is told in a field of the same number at the end of the response, behind the
// protocol's own. Who does not ask gets the response that it always got, and brokers that do not know the field pass
// over it. What is told are durations since the request's last byte was read, never times, so that two hosts' clocks need
// not agree.
//
// The field of a request (more bytes may follow in later versions):
//
//	offset  size  field
//	     0     1  the highest version of the answer that the client reads: 1
//
// The field of a response, big-endian. Each duration is in nanoseconds since Read; -1 for a stage that was not passed here,
// as the last three are when another node led the partition, or when the batch was refused:
//
//	offset  size  field
//	     0     1  version: 1
//	     1     8  decode: the request was parsed and checked
//	     9     8  propose: its batches were handed to raft
//	    17     8  queue: a batch of the WAL took them in, its write began
//	    25     8  sync: that batch was durable on this node; this and queue are -1 too when others made the quorum before
//	    33     8  quorum: they were committed
//	    41     8  encode: this response was encoded, the last thing before the socket
//
// Of several partitions the one that was committed last counts. A response has no checksum, and so has the field none.
const (
	// StagesTag is the number of both fields: "ackl".
	StagesTag = 0x61636b6c
	// StagesVersion is the version of the answer.
	StagesVersion = 1

	stagesVersionAt = 0
	stagesDecodeAt  = 1
	stagesProposeAt = 9
	stagesQueueAt   = 17
	stagesSyncAt    = 25
	stagesQuorumAt  = 33
	stagesEncodeAt  = 41
	stagesBytes     = 49
)

// StageTimes is the content of a response's field: nanoseconds since Read, -1 for what was not passed.
type StageTimes struct {
	Decode, Propose, Queue, Sync, Quorum, Encode int64
}

// asksStages looks for the request's field in a tag section that was checked.
func asksStages(section []byte) (asks bool) {
	n, size := uvarint(section)
	section = section[size:]
	for range n {
		number, size := uvarint(section)
		section = section[size:]
		length, size := uvarint(section)
		section = section[size:]
		if number == StagesTag {
			asks = length > 0 && section[stagesVersionAt] >= StagesVersion
		}
		section = section[length:]
	}
	return asks
}

// appendStages appends the response's field, its number and size included.
func appendStages(d []byte, s *StageTimes) []byte {
	d = binary.AppendUvarint(d, StagesTag)
	d = append(d, stagesBytes, StagesVersion) // the size is a uvarint of one byte
	at := len(d) - 1
	d = append(d, make([]byte, stagesBytes-1)...)
	f := d[at:]
	binary.BigEndian.PutUint64(f[stagesDecodeAt:], uint64(s.Decode))
	binary.BigEndian.PutUint64(f[stagesProposeAt:], uint64(s.Propose))
	binary.BigEndian.PutUint64(f[stagesQueueAt:], uint64(s.Queue))
	binary.BigEndian.PutUint64(f[stagesSyncAt:], uint64(s.Sync))
	binary.BigEndian.PutUint64(f[stagesQuorumAt:], uint64(s.Quorum))
	binary.BigEndian.PutUint64(f[stagesEncodeAt:], uint64(s.Encode))
	return d
}
