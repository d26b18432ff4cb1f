package kwire

import (
	"encoding/binary"
	"fmt"
)

// ProduceRequest steps over the partitions of a Produce request, versions 3 to 11, without allocating. Parse walks
// the whole body first, so that no batch is proposed from a request whose end is malformed; Next cannot fail then.
//
//	var p kwire.ProduceRequest
//	if err := p.Parse(h); err != nil { … }
//	for topic, partition, records, ok := p.Next(); ok; topic, partition, records, ok = p.Next() { … }
//
// Topics and records alias the frame.
type ProduceRequest struct {
	TransactionalID []byte // nil when null
	Acks            int16  // -1, 0 or 1; not checked here
	TimeoutMs       int32
	Topics          int  // number of topics in the request, those without partitions included
	Partitions      int  // number of partitions in the request
	AsksStages      bool // the client wants to be told StageTimes

	w        walker
	topic    []byte
	topics   int // that Next has not begun
	inTopic  int // partitions of topic that Next has not returned
	rewindTo []byte
	version  int16
}

// Parse reads the head of the request and checks the rest. The error is a *BoundError, or a *VersionError when the
// version is not served (0 to 2 are advertised, see API.Served).
func (p *ProduceRequest) Parse(h Header) error {
	a := lookup(KeyProduce)
	if h.Key != KeyProduce || h.Version < a.Served || h.Version > a.Max {
		return &VersionError{Key: h.Key, Version: h.Version, Min: a.Served, Max: a.Max, Name: a.Name}
	}
	*p = ProduceRequest{version: h.Version}
	p.w = walker{b: h.Body, version: h.Version, flexible: h.Version >= a.Flexible}
	reason := p.head()
	if reason == "" {
		reason = p.check()
	}
	if reason != "" {
		e := &BoundError{Key: h.Key, Version: h.Version, Length: len(h.Body), Offset: len(h.Body) - len(p.w.b), Reason: reason}
		*p = ProduceRequest{}
		return e
	}
	p.Rewind()
	return nil
}

// Rewind makes Next begin again.
func (p *ProduceRequest) Rewind() {
	p.w.b, p.topics, p.inTopic, p.topic = p.rewindTo, p.Topics, 0, nil
}

func (p *ProduceRequest) head() (reason string) {
	if p.TransactionalID, reason = p.w.bytes(2); reason != "" {
		return reason
	}
	if len(p.w.b) < 6 {
		return fmt.Sprintf("6 bytes of acks and timeout are needed, %d are left", len(p.w.b))
	}
	p.Acks = int16(binary.BigEndian.Uint16(p.w.b))
	p.TimeoutMs = int32(binary.BigEndian.Uint32(p.w.b[2:]))
	p.w.b = p.w.b[6:]
	p.Topics, reason = p.w.elementsOf(&produceTopics)
	p.rewindTo = p.w.b
	return reason
}

// produceTopics and producePartitions are the arrays of the table's layout.
var (
	produceTopics     = table[0].layout[3]
	producePartitions = produceTopics.sub[1]
)

// check steps over the whole request once.
func (p *ProduceRequest) check() string {
	if p.Topics > MaxElements {
		return fmt.Sprintf("%d topics; %d are the most", p.Topics, MaxElements)
	}
	for range p.Topics {
		_, n, reason := p.beginTopic()
		if reason != "" {
			return reason
		}
		if p.Partitions += n; p.Partitions > MaxElements {
			return fmt.Sprintf("more than %d partitions", MaxElements)
		}
		for range n {
			if _, _, reason := p.one(); reason != "" {
				return reason
			}
		}
		if reason := p.endOfStructure(); reason != "" {
			return reason
		}
	}
	tags := p.w.b
	if reason := p.endOfStructure(); reason != "" {
		return reason
	}
	p.AsksStages = p.w.flexible && tags[0] != 0 && asksStages(tags)
	if n := len(p.w.b); n > 0 {
		return fmt.Sprintf("%d bytes after the end of the request", n)
	}
	return ""
}

// Next returns the next partition; ok is false behind the last. records is nil when the request holds null.
func (p *ProduceRequest) Next() (topic []byte, partition int32, records []byte, ok bool) {
	for p.inTopic == 0 {
		if p.topic != nil {
			p.must(p.endOfStructure())
			p.topic = nil
		}
		if p.topics == 0 {
			return nil, 0, nil, false
		}
		p.topics--
		topic, n, reason := p.beginTopic()
		p.must(reason)
		p.topic, p.inTopic = topic, n
	}
	p.inTopic--
	partition, records, reason := p.one()
	p.must(reason)
	return p.topic, partition, records, true
}

// must panics if what Parse accepted cannot be read again: somebody wrote into the frame.
func (p *ProduceRequest) must(reason string) {
	if reason != "" {
		panic("kwire: a Produce request changed since it was parsed: " + reason)
	}
}

// beginTopic reads a topic's name, never nil, and the number of its partitions.
func (p *ProduceRequest) beginTopic() (topic []byte, n int, reason string) {
	if topic, reason = p.w.bytes(2); reason != "" {
		return nil, 0, reason
	}
	if topic == nil {
		return nil, 0, "topic name null"
	}
	n, reason = p.w.elementsOf(&producePartitions)
	return topic, n, reason
}

// one reads a partition.
func (p *ProduceRequest) one() (partition int32, records []byte, reason string) {
	if len(p.w.b) < 4 {
		return 0, nil, fmt.Sprintf("4 bytes of partition index are needed, %d are left", len(p.w.b))
	}
	partition = int32(binary.BigEndian.Uint32(p.w.b))
	p.w.b = p.w.b[4:]
	if records, reason = p.w.bytes(4); reason != "" {
		return 0, nil, reason
	}
	return partition, records, p.endOfStructure()
}

func (p *ProduceRequest) endOfStructure() string {
	switch {
	case !p.w.flexible:
		return ""
	case len(p.w.b) > 0 && p.w.b[0] == 0: // no tags: what every client sends
		p.w.b = p.w.b[1:]
		return ""
	}
	p.w.elements = 0 // Next passes here again; each section is bounded by the bytes that it takes
	return p.w.tags(nil)
}

// bytes reads a string or bytes with a length of `width` bytes; nil is null, an empty one is not nil.
func (w *walker) bytes(width int) ([]byte, string) {
	n, reason := w.count(width)
	if reason != "" || n < 0 {
		return nil, reason
	}
	if n > len(w.b) {
		return nil, fmt.Sprintf("%d bytes are needed, %d are left", n, len(w.b))
	}
	v := w.b[:n:n]
	w.b = w.b[n:]
	return v, ""
}

// elementsOf reads and bounds the count of an array; null counts as empty.
func (w *walker) elementsOf(f *field) (int, string) {
	n, reason := w.count(4)
	if reason != "" || n <= 0 {
		return 0, reason
	}
	if least := w.least(f); n > len(w.b)/least {
		return 0, fmt.Sprintf("an array of %d elements, of at least %d bytes each, where %d bytes are left", n, least, len(w.b))
	}
	return n, ""
}
