package frame

import (
	"encoding/binary"
	"fmt"

	"ackline/loadgen/place"
)

// Fetch is sent as version 11: the last one before flexible encoding, names topics by name and is spoken by every broker
// from Kafka 2.3 on. Sessions are declined.
const (
	FetchKey     = 1
	FetchVersion = 11
)

// Fetch is a Fetch request of one partition, laid out once:
//
//	length 4 | key 2 | version 2 | correlation id 4 | client id 2+c | replica -1 4 | max wait ms 4 | min bytes 4 | max bytes 4 |
//	isolation 1 | session 4 | session epoch -1 4 | topics 4 | name 2+t | partitions 4 | partition 4 | leader epoch -1 4 |
//	offset 8 (patched) | log start -1 8 | partition max bytes 4 | forgotten topics 4 | rack 2
type Fetch struct {
	template    []byte
	partitionAt int
	offsetAt    int
}

// FetchLimits says how long a broker may wait and how much it may answer.
type FetchLimits struct {
	MaxWaitMS int32 // how long the broker may hold the request; 0 answers at once
	MinBytes  int32 // answers before MaxWaitMS when so much is there; 0 means 1 when MaxWaitMS is above 0
	MaxBytes  int32 // at most so much, but always one whole batch; must be above 0
}

// NewFetch lays out a request.
func NewFetch(topic string, l FetchLimits) *Fetch {
	if l.MaxBytes <= 0 {
		panic(fmt.Sprintf("frame: fetch of %d bytes", l.MaxBytes))
	}
	if l.MinBytes == 0 && l.MaxWaitMS > 0 {
		l.MinBytes = 1
	}
	be := binary.BigEndian
	b := []byte{0, 0, 0, 0}
	b = be.AppendUint16(b, FetchKey)
	b = be.AppendUint16(b, FetchVersion)
	b = append(b, 0, 0, 0, 0)
	b = be.AppendUint16(b, uint16(len(ClientID)))
	b = append(b, ClientID...)
	b = be.AppendUint32(b, ^uint32(0)) // a consumer, not a replica
	b = be.AppendUint32(b, uint32(l.MaxWaitMS))
	b = be.AppendUint32(b, uint32(l.MinBytes))
	b = be.AppendUint32(b, uint32(l.MaxBytes))
	b = append(b, 0)                   // read uncommitted
	b = be.AppendUint32(b, 0)          // no session
	b = be.AppendUint32(b, ^uint32(0)) // no session
	b = be.AppendUint32(b, 1)
	b = be.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = be.AppendUint32(b, 1)
	f := &Fetch{partitionAt: len(b)}
	b = be.AppendUint32(b, 0)
	b = be.AppendUint32(b, ^uint32(0))
	f.offsetAt = len(b)
	b = be.AppendUint64(b, 0)
	b = be.AppendUint64(b, ^uint64(0))
	b = be.AppendUint32(b, uint32(l.MaxBytes))
	b = be.AppendUint32(b, 0)
	b = be.AppendUint16(b, 0)
	be.PutUint32(b, uint32(len(b)-4))
	f.template = b
	return f
}

// Fetches are requests to several topics, by their index.
type Fetches []*Fetch

// NewFetches lays out a request for each.
func NewFetches(topics place.Topics, l FetchLimits) (out Fetches) {
	for _, name := range topics {
		out = append(out, NewFetch(name, l))
	}
	return out
}

// MaxLen is the length of the longest frame.
func (f Fetches) MaxLen() (n int) {
	for _, one := range f {
		n = max(n, one.Len())
	}
	return n
}

// fetchWaitAt is where a frame holds how long the broker may wait.
const fetchWaitAt = 12 + 2 + len(ClientID) + 4

// AtOnce makes an initialised frame a request that is answered at once, whatever there is.
func (f *Fetch) AtOnce(frame []byte) { binary.BigEndian.PutUint32(frame[fetchWaitAt:], 0) }

// Len is the length of a frame, its prefix included.
func (f *Fetch) Len() int { return len(f.template) }

// Init copies the request into frame, which is Len bytes long.
func (f *Fetch) Init(frame []byte) { copy(frame[:len(f.template)], f.template) }

// Patch makes an initialised frame the request for what lies from offset on.
func (f *Fetch) Patch(frame []byte, correlation, partition int32, offset int64) {
	binary.BigEndian.PutUint32(frame[CorrelationAt:], uint32(correlation))
	binary.BigEndian.PutUint32(frame[f.partitionAt:], uint32(partition))
	binary.BigEndian.PutUint64(frame[f.offsetAt:], uint64(offset))
}

// Fetched is the answer for the one partition of a Fetch.
type Fetched struct {
	Correlation   int32
	Partition     int32
	Code          int16 // the partition's error code, or the whole response's
	HighWatermark int64
	LogStart      int64
	Batches       []byte // a part of the reply; the last batch may be cut short
}

// ParseFetched reads a Fetch v11 response of one topic and one partition; reply is the frame without its length prefix.
//
//	correlation id 4 | throttle 4 | error 2 | session 4 | topics 4 | name 2+t | partitions 4 | partition 4 | error 2 |
//	high watermark 8 | last stable 8 | log start 8 | aborted transactions (count 4, each 16) | preferred replica 4 | length 4 | batches
func ParseFetched(reply []byte) (Fetched, error) {
	r := reader{p: reply}
	out := Fetched{Correlation: r.int32()}
	r.int32()
	out.Code = r.int16()
	r.int32()
	topics := r.int32()
	if r.err == nil && topics == 0 && out.Code != 0 {
		return out, nil
	}
	r.want("topics", int(topics), 1)
	r.skip(int(r.int16()))
	r.want("partitions", int(r.int32()), 1)
	out.Partition = r.int32()
	if code := r.int16(); code != 0 {
		out.Code = code
	}
	out.HighWatermark = r.int64()
	r.int64()
	out.LogStart = r.int64()
	if n := int(r.int32()); n > 0 {
		r.skip(n * 16)
	}
	r.int32()
	if n := int(r.int32()); n > 0 {
		at := r.at
		r.skip(n)
		if r.err == nil {
			out.Batches = r.p[at : at+n]
		}
	}
	if r.err != nil {
		return out, fmt.Errorf("fetch response of %d bytes: %w", len(reply), r.err)
	}
	return out, nil
}
