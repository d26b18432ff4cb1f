package frame

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Produce is sent as version 9: the first flexible one, spoken by every broker since Kafka 2.4, and without the fields of
// later versions that this generator would leave empty.
const (
	ProduceKey     = 0
	ProduceVersion = 9
)

// CorrelationAt is where a request's frame, its length prefix included, holds the correlation id; in a response it lies
// at ReplyCorrelationAt. Both are big-endian.
const (
	CorrelationAt      = 8
	ReplyCorrelationAt = 4
)

// A Produce v9 request as it is sent, with one topic, one partition and one batch:
//
//	offset  size  field
//	     0     4  length of what follows
//	     4     2  key 0
//	     6     2  version 9
//	     8     4  correlation id                          patched
//	    12   2+c  client id
//	     …     1  header's tags: none
//	     …     1  transactional id: none
//	     …     2  acks: -1, or what SetAcks said
//	     …     4  time-out, ms
//	     …     1  number of topics + 1
//	     …   u+t  topic's name (uvarint of its length + 1, bytes)
//	     …     1  number of partitions + 1
//	     …     4  partition                               patched
//	     …     u  length of the batch + 1 (uvarint)
//	     …     –  the batch: times, values, CRC           patched
//	     …     2  tags of partition and topic: none
//	     …     s  tags of the body: none, or with AskStages the question (see Stages)

// Produce is a Produce request laid out once. Frames made from it all have the same length, so that a ring of them is
// one piece of memory of which any run of neighbours can be sent with one system call.
type Produce struct {
	payloads    *Payloads
	template    []byte
	acksAt      int
	partitionAt int
	batchAt     int
	batchEnd    int
	valueAt     []int
}

// ClientID is what the generator calls itself.
const ClientID = "loadgen"

// ClientOf is what a generator calls itself that says where it is: behind an @ the name of a region or zone of the cluster's nodes. Brokers that
// do not look for it take it for a name like any other. "" says nothing.
func ClientOf(place string) string {
	if place == "" {
		return ClientID
	}
	return ClientID + "@" + place
}

// clientAt is where a frame holds the client id's length.
const clientAt = 12

// NewProduce lays out a request for records records of p's size each. timeoutMS is how long the broker may wait for
// its replicas.
func NewProduce(topic string, records int, timeoutMS int32, p *Payloads) (*Produce, error) {
	if records < 1 {
		return nil, fmt.Errorf("produce: %d records per request, want 1 or more", records)
	}
	if topic == "" || len(topic) > 249 {
		return nil, fmt.Errorf("produce: topic name of %d bytes, want 1 to 249", len(topic))
	}
	if n := int64(records) * int64(p.size+32); n > math.MaxInt32/4 {
		return nil, fmt.Errorf("produce: %d records of %d bytes make a request of %d bytes, want at most %d", records, p.size, n, math.MaxInt32/4)
	}
	var batch []byte
	batch, valueAt := appendBatch(nil, records, p.size)

	b := make([]byte, 0, len(batch)+len(topic)+64)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, ProduceKey)
	b = binary.BigEndian.AppendUint16(b, ProduceVersion)
	b = append(b, 0, 0, 0, 0) // correlation id
	b = binary.BigEndian.AppendUint16(b, uint16(len(ClientID)))
	b = append(b, ClientID...)
	b = append(b, 0, 0) // tags, transactional id
	pr := &Produce{payloads: p, acksAt: len(b)}
	b = binary.BigEndian.AppendUint16(b, ^uint16(0)) // acks
	b = binary.BigEndian.AppendUint32(b, uint32(timeoutMS))
	b = append(b, 2) // one topic
	b = binary.AppendUvarint(b, uint64(len(topic)+1))
	b = append(b, topic...)
	b = append(b, 2) // one partition
	pr.partitionAt = len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(len(batch)+1))
	pr.batchAt = len(b)
	b = append(b, batch...)
	pr.batchEnd = len(b)
	b = append(b, 0, 0, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	for _, at := range valueAt {
		pr.valueAt = append(pr.valueAt, pr.batchAt+at)
	}
	pr.template = b
	return pr, nil
}

// AskStages makes every request ask for its stages. Call it before frames are laid out.
func (p *Produce) AskStages() {
	b := appendStagesQuestion(p.template[: len(p.template)-1 : len(p.template)-1])
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	p.template = b
}

// From makes every request say where it comes from (see ClientOf). Call it once, before frames are laid out.
func (p *Produce) From(place string) {
	name := ClientOf(place)
	rest := p.template[clientAt+2+len(ClientID):]
	b := binary.BigEndian.AppendUint16(p.template[:clientAt:clientAt], uint16(len(name)))
	b = append(append(b, name...), rest...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	p.template = b
	longer := len(name) - len(ClientID)
	for _, at := range []*int{&p.acksAt, &p.partitionAt, &p.batchAt, &p.batchEnd} {
		*at += longer
	}
	for i := range p.valueAt {
		p.valueAt[i] += longer
	}
}

// Records is the number of records of each request.
func (p *Produce) Records() int { return len(p.valueAt) }

// Len is the length of a frame, its prefix included.
func (p *Produce) Len() int { return len(p.template) }

// Init copies the request into frame, which is Len bytes long and can be patched from then on.
func (p *Produce) Init(frame []byte) { copy(frame[:len(p.template)], p.template) }

// Producer is who writes, to a broker that is to know its batches again. Ids come from InitProducerId.
type Producer struct {
	ID    int64
	Epoch int16
}

// Identify makes an initialised frame one of a producer's. From then on the sequence number of a batch is that of its first
// record within the stream, so that a producer writes one stream to each partition, from record 0 on.
func (p *Produce) Identify(frame []byte, who Producer) {
	identify(frame[p.batchAt:p.batchEnd], who, 0)
}

// SetAcks says how many replicas must have the records before the answer: -1 (all in sync, unless it is called), 1 (the leader) or 0 (none, and there is no
// answer). For frames that are initialised later.
func (p *Produce) SetAcks(acks int16) {
	binary.BigEndian.PutUint16(p.template[p.acksAt:], uint16(acks))
}

// Patch makes an initialised frame the request of records seq, seq+1, … of a stream.
func (p *Produce) Patch(frame []byte, correlation, partition int32, stream uint32, seq uint64, timestampMS int64) {
	binary.BigEndian.PutUint32(frame[CorrelationAt:], uint32(correlation))
	binary.BigEndian.PutUint32(frame[p.partitionAt:], uint32(partition))
	for i, at := range p.valueAt {
		p.payloads.Put(frame[at:at+p.payloads.size], stream, seq+uint64(i))
	}
	b := frame[p.batchAt:p.batchEnd]
	if int32(binary.BigEndian.Uint32(b[batchSequenceAt:])) >= 0 {
		binary.BigEndian.PutUint32(b[batchSequenceAt:], uint32(seq&math.MaxInt32)) // behind the highest one comes 0 again
	}
	sealBatch(b, timestampMS)
}

// Produced is the answer for the one partition of a Produce.
type Produced struct {
	Correlation int32
	Partition   int32
	Code        int16 // Kafka's error code; 0: stored
	Base        int64 // offset of the first record
	ThrottleMS  int32
	Told        bool // the stages were asked for, and the broker knows them
	Stages      Stages
}

// ParseProduced reads a Produce v9 response of one topic and one partition; reply is the frame without its length prefix.
//
//	correlation id 4 | tags | topics + 1 | name (compact) | partitions + 1 | partition 4 | error 2 | base offset 8 |
//	append time 8 | log start 8 | record errors (compact array) | message (compact, may be null) | tags | tags | throttle 4 |
//	tags (see Stages)
func ParseProduced(reply []byte) (Produced, error) {
	r := reader{p: reply}
	out := Produced{Correlation: r.int32()}
	r.tags()
	r.want("topics", r.uvarint(), 2)
	r.skip(r.uvarint() - 1)
	r.want("partitions", r.uvarint(), 2)
	out.Partition = r.int32()
	out.Code = r.int16()
	out.Base = r.int64()
	r.skip(16)
	for n := r.uvarint(); n > 1 && r.err == nil; n-- { // record errors: index, message
		r.skip(4)
		r.compact()
		r.tags()
	}
	r.compact()
	r.tags()
	r.tags()
	out.ThrottleMS = r.int32()
	out.Stages, out.Told = r.stages()
	if r.err != nil {
		return out, fmt.Errorf("produce response of %d bytes: %w", len(reply), r.err)
	}
	return out, nil
}
