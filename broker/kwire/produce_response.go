package kwire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// CodeNotLeader is Kafka's NOT_LEADER_OR_FOLLOWER.
const CodeNotLeader int16 = 6

// produceHintsFrom is the version of Produce that carries leader hints (KIP-951).
const produceHintsFrom = 10

// ProducePartition is the answer for one partition.
type ProducePartition struct {
	Partition   int32
	Code        int16  // Kafka's error code, 0 for success
	Base        int64  // the offset that the batch's first record got, -1 if none
	AppendTime  int64  // ms; -1 unless the topic stamps LogAppendTime
	LogStart    int64  // the log start offset, -1 if unknown
	Message     string // explains Code; empty becomes null; sent from version 8 on
	LeaderID    int32  // with CodeNotLeader: who leads now, and in which epoch; -1 when unknown, and then not sent.
	LeaderEpoch int32
}

// Endpoint is where a node that a response names is reached.
type Endpoint struct {
	Node int32
	Host string
	Port int32
	Rack string // empty becomes null
}

// ProduceResponse appends the frame of a Produce response, versions 3 to 11, to a buffer, without allocating beside
// the buffer's growth:
//
//	var e kwire.ProduceResponse
//	e.Begin(buf, h, topics)
//	e.Topic(name, partitions); e.Partition(…) …   as often as announced
//	buf = e.End(throttleMs, endpoints, stages)
type ProduceResponse struct {
	dst        []byte
	at         int
	version    int16
	flexible   bool
	topics     int // announced and not begun
	partitions int // announced for this topic and not written
	begun      bool
}

// Begin starts a frame behind dst. The number of topics must be known.
func (e *ProduceResponse) Begin(dst []byte, h Header, topics int) {
	if a := lookup(KeyProduce); h.Key != KeyProduce || h.Version < a.Served || h.Version > a.Max {
		panic(fmt.Sprintf("kwire: Produce response to key %d version %d; %d to %d of key 0 are encoded", h.Key, h.Version, a.Served, a.Max))
	}
	*e = ProduceResponse{at: len(dst), version: h.Version, flexible: h.Flexible(), topics: topics}
	e.dst = BeginResponse(dst, h)
	e.count(topics)
}

// Topic starts a topic of so many partitions.
func (e *ProduceResponse) Topic(name []byte, partitions int) {
	e.endTopic()
	if e.topics--; e.topics < 0 {
		panic(fmt.Sprintf("kwire: Produce response with more topics than announced, %q is too many", name))
	}
	if len(name) > math.MaxInt16 {
		panic(fmt.Sprintf("kwire: topic name of %d bytes; %d are possible", len(name), math.MaxInt16))
	}
	e.begun, e.partitions = true, partitions
	if e.flexible {
		e.dst = binary.AppendUvarint(e.dst, uint64(len(name))+1)
	} else {
		e.dst = binary.BigEndian.AppendUint16(e.dst, uint16(len(name)))
	}
	e.dst = append(e.dst, name...)
	e.count(partitions)
}

// Partition writes one partition of the current topic.
func (e *ProduceResponse) Partition(p ProducePartition) {
	if e.partitions--; e.partitions < 0 {
		panic(fmt.Sprintf("kwire: Produce response with more partitions than announced, %d is too many", p.Partition))
	}
	d := binary.BigEndian.AppendUint32(e.dst, uint32(p.Partition))
	d = binary.BigEndian.AppendUint16(d, uint16(p.Code))
	d = binary.BigEndian.AppendUint64(d, uint64(p.Base))
	d = binary.BigEndian.AppendUint64(d, uint64(p.AppendTime))
	if e.version >= 5 {
		d = binary.BigEndian.AppendUint64(d, uint64(p.LogStart))
	}
	if e.version >= 8 {
		// No record errors: a batch is taken or refused as a whole.
		if e.flexible {
			d = append(d, 1)
		} else {
			d = append(d, 0, 0, 0, 0)
		}
		d = appendNullable(d, e.flexible, p.Message)
	}
	if e.flexible {
		d = e.currentLeader(d, p)
	}
	e.dst = d
}

// currentLeader appends a partition's tag section: tag 0 is CurrentLeader, {id int32, epoch int32, no tags}.
func (e *ProduceResponse) currentLeader(d []byte, p ProducePartition) []byte {
	if e.version < produceHintsFrom || p.Code != CodeNotLeader || p.LeaderID < 0 {
		return append(d, 0)
	}
	d = append(d, 1, 0, 9)
	d = binary.BigEndian.AppendUint32(d, uint32(p.LeaderID))
	d = binary.BigEndian.AppendUint32(d, uint32(p.LeaderEpoch))
	return append(d, 0)
}

// End finishes the frame and returns the buffer. The endpoints are those of the leaders that were named; versions
// before 10 do not carry them. stages is for a request that AsksStages, and nil for any other.
func (e *ProduceResponse) End(throttleMs int32, endpoints []Endpoint, stages *StageTimes) []byte {
	e.endTopic()
	if e.topics != 0 {
		panic(fmt.Sprintf("kwire: Produce response ended %d topics short of what was announced", e.topics))
	}
	d := binary.BigEndian.AppendUint32(e.dst, uint32(throttleMs))
	if e.flexible {
		d = e.tags(d, endpoints, stages)
	}
	EndResponse(d, e.at)
	*e = ProduceResponse{}
	return d
}

// tags appends the response's tag section, in the order of the tags' numbers.
func (e *ProduceResponse) tags(d []byte, endpoints []Endpoint, stages *StageTimes) []byte {
	n, named := byte(0), e.version >= produceHintsFrom && len(endpoints) > 0
	if named {
		n++
	}
	if stages != nil {
		n++
	}
	d = append(d, n)
	if named {
		d = appendEndpoints(d, endpoints)
	}
	if stages != nil {
		d = appendStages(d, stages)
	}
	return d
}

// appendEndpoints appends tag 0 of the response: NodeEndpoints, an array.
func appendEndpoints(d []byte, endpoints []Endpoint) []byte {
	size := uvarintLen(len(endpoints) + 1)
	for i := range endpoints {
		n := &endpoints[i]
		size += 4 + uvarintLen(len(n.Host)+1) + len(n.Host) + 4 + uvarintLen(len(n.Rack)+1) + len(n.Rack) + 1
	}
	d = append(d, 0)
	d = binary.AppendUvarint(d, uint64(size))
	from := len(d)
	d = binary.AppendUvarint(d, uint64(len(endpoints)+1))
	for i := range endpoints {
		n := &endpoints[i]
		d = binary.BigEndian.AppendUint32(d, uint32(n.Node))
		d = binary.AppendUvarint(d, uint64(len(n.Host)+1))
		d = append(d, n.Host...)
		d = binary.BigEndian.AppendUint32(d, uint32(n.Port))
		if n.Rack == "" {
			d = append(d, 0)
		} else {
			d = append(binary.AppendUvarint(d, uint64(len(n.Rack)+1)), n.Rack...)
		}
		d = append(d, 0)
	}
	if got := len(d) - from; got != size {
		panic(fmt.Sprintf("kwire: node endpoints take %d bytes, announced as %d", got, size))
	}
	return d
}

func (e *ProduceResponse) endTopic() {
	if !e.begun {
		return
	}
	if e.partitions != 0 {
		panic(fmt.Sprintf("kwire: Produce response ended a topic %d partitions short of what was announced", e.partitions))
	}
	if e.begun = false; e.flexible {
		e.dst = append(e.dst, 0)
	}
}

func (e *ProduceResponse) count(n int) {
	if e.flexible {
		e.dst = binary.AppendUvarint(e.dst, uint64(n)+1)
	} else {
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(n))
	}
}

// appendNullable appends a string, null when it is empty. What does not fit the length of its encoding is cut: these
// are messages for people.
func appendNullable(d []byte, compact bool, s string) []byte {
	s = s[:min(len(s), math.MaxInt16)]
	switch {
	case s == "" && compact:
		return append(d, 0)
	case s == "":
		return append(d, 0xff, 0xff)
	case compact:
		return append(binary.AppendUvarint(d, uint64(len(s)+1)), s...)
	}
	return append(binary.BigEndian.AppendUint16(d, uint16(len(s))), s...)
}

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
