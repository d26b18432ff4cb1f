package frame

import (
	"fmt"
	"math"

	pb "go.etcd.io/raft/v3/raftpb"

	"ackline/broker/id"
)

// A message has every field of raftpb.Message that travels between nodes (Responses does not):
//
//	 0  8  group
//	 8  1  type
//	 9  1  flags: 1 = reject, 2 = has a snapshot
//	10  2  context length
//	12  4  number of entries
//	16  8  to
//	24  8  from
//	32  8  term
//	40  8  log term
//	48  8  index
//	56  8  commit
//	64  8  vote
//	72  8  reject hint
//	80  8  zero
//	88     the context, the snapshot if there is one, the entries
//
// An entry:
//
//	 0  8  term
//	 8  8  index
//	16  4  length of the data
//	20  1  type
//	21  3  zero
//	24     the data
//
// A snapshot; the ids are those of voters, learners, outgoing voters and next learners, 8 bytes each:
//
//	 0  8  index
//	 8  8  term
//	16  4  flags: 1 = leave the joint configuration automatically
//	20  4  number of voters
//	24  4  of learners
//	28  4  of outgoing voters
//	32  4  of next learners
//	36  4  length of the data
//	40     the ids, the data
const (
	MessageSize = 88
	EntrySize   = 24

	snapshotSize = 40

	flagReject   = 1
	flagSnapshot = 2
	flagLeave    = 1
)

// GroupMessage is a raft message and the group that it is for.
type GroupMessage struct {
	Group   id.GroupID
	Message pb.Message
}

// classes says what each type of message goes over, plus one; 0 for what never leaves a node.
var classes = [...]Class{
	pb.MsgProp:           1 + Bulk,
	pb.MsgApp:            1 + Bulk,
	pb.MsgAppResp:        1 + Bulk,
	pb.MsgVote:           1 + Control,
	pb.MsgVoteResp:       1 + Control,
	pb.MsgSnap:           1 + Bulk,
	pb.MsgHeartbeat:      1 + Control,
	pb.MsgHeartbeatResp:  1 + Control,
	pb.MsgTransferLeader: 1 + Control,
	pb.MsgTimeoutNow:     1 + Control,
	pb.MsgReadIndex:      1 + Control,
	pb.MsgReadIndexResp:  1 + Control,
	pb.MsgPreVote:        1 + Control,
	pb.MsgPreVoteResp:    1 + Control,
}

// ClassOf returns what a message goes over. ok is false for types that raft uses within one node only.
func ClassOf(t pb.MessageType) (c Class, ok bool) {
	if t < 0 || int(t) >= len(classes) || classes[t] == 0 {
		return 0, false
	}
	return classes[t] - 1, true
}

// MessageBytes is the size of a message on the wire.
func MessageBytes(m *pb.Message) int {
	n := MessageSize + len(m.Context)
	if m.Snapshot != nil {
		n += snapshotBytes(m.Snapshot)
	}
	for i := range m.Entries {
		n += EntrySize + len(m.Entries[i].Data)
	}
	return n
}

// checkMessage says why a message cannot be encoded.
func checkMessage(m *pb.Message, size, maxBody int) error {
	switch _, ok := ClassOf(m.Type); {
	case !ok || len(m.Responses) > 0:
		panic(fmt.Sprintf("frame: %v with %d responses does not leave its node", m.Type, len(m.Responses)))
	case size > maxBody || len(m.Entries) > MaxEntries || len(m.Context) > math.MaxUint16:
		return fmt.Errorf("%w: %v of %d bytes with %d entries and %d bytes of context, in frames of up to %d bytes", ErrTooLarge,
			m.Type, size, len(m.Entries), len(m.Context), maxBody)
	}
	return nil
}

// appendMessage appends all of a message but its entries.
func appendMessage(b []byte, g id.GroupID, m *pb.Message) []byte {
	flags := byte(0)
	if m.Reject {
		flags |= flagReject
	}
	if m.Snapshot != nil {
		flags |= flagSnapshot
	}
	b = le.AppendUint64(b, uint64(g))
	b = append(b, byte(m.Type), flags)
	b = le.AppendUint16(b, uint16(len(m.Context)))
	b = le.AppendUint32(b, uint32(len(m.Entries)))
	for _, v := range [...]uint64{m.To, m.From, m.Term, m.LogTerm, m.Index, m.Commit, m.Vote, m.RejectHint, 0} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, m.Context...)
	if m.Snapshot != nil {
		b = appendSnapshot(b, m.Snapshot)
	}
	return b
}

// appendEntry appends all of an entry but its data.
func appendEntry(b []byte, e *pb.Entry) []byte {
	if e.Type < 0 || e.Type > math.MaxUint8 {
		panic(fmt.Sprintf("frame: entry %d of type %d, a byte is reserved for it", e.Index, e.Type))
	}
	b = le.AppendUint64(b, e.Term)
	b = le.AppendUint64(b, e.Index)
	b = le.AppendUint32(b, uint32(len(e.Data)))
	return append(b, byte(e.Type), 0, 0, 0)
}

func snapshotBytes(s *pb.Snapshot) int {
	c := &s.Metadata.ConfState
	return snapshotSize + 8*(len(c.Voters)+len(c.Learners)+len(c.VotersOutgoing)+len(c.LearnersNext)) + len(s.Data)
}

func appendSnapshot(b []byte, s *pb.Snapshot) []byte {
	c := &s.Metadata.ConfState
	b = le.AppendUint64(b, s.Metadata.Index)
	b = le.AppendUint64(b, s.Metadata.Term)
	flags := uint32(0)
	if c.AutoLeave {
		flags = flagLeave
	}
	b = le.AppendUint32(b, flags)
	ids := [...][]uint64{c.Voters, c.Learners, c.VotersOutgoing, c.LearnersNext}
	for _, set := range ids {
		b = le.AppendUint32(b, uint32(len(set)))
	}
	b = le.AppendUint32(b, uint32(len(s.Data)))
	for _, set := range ids {
		for _, v := range set {
			b = le.AppendUint64(b, v)
		}
	}
	return append(b, s.Data...)
}

// DecodeMessages appends the messages of a frame to dst. Entries' data refer to body, which must therefore never be used
// again if the header counts entries; everything else is copied. dst is valid, if shorter than promised, on error too.
func DecodeMessages(dst []GroupMessage, h Header, body []byte) ([]GroupMessage, error) {
	d := decoder{body: body, entries: make([]pb.Entry, h.Entries)}
	for range h.Messages {
		dst = append(dst, GroupMessage{})
		if err := d.message(&dst[len(dst)-1]); err != nil {
			return dst[:len(dst)-1], fmt.Errorf("%w: a message that ends %d bytes before its frame: %w", ErrFormat, len(d.body), err)
		}
	}
	if len(d.body) != 0 || len(d.entries) != 0 {
		return dst, fmt.Errorf("%w: %d bytes and %d entries follow the last message", ErrFormat, len(d.body), len(d.entries))
	}
	return dst, nil
}

// decoder goes through a body.
type decoder struct {
	body    []byte     // the rest
	entries []pb.Entry // that the header counted, and no message has yet
}

// take returns the next n bytes.
func (d *decoder) take(n uint64) ([]byte, error) {
	if n > uint64(len(d.body)) {
		return nil, fmt.Errorf("%d bytes where %d are left", n, len(d.body))
	}
	b := d.body[:n:n]
	d.body = d.body[n:]
	return b, nil
}

func (d *decoder) message(gm *GroupMessage) error {
	b, err := d.take(MessageSize)
	if err != nil {
		return err
	}
	m := &gm.Message
	gm.Group = id.GroupID(le.Uint64(b))
	m.Type = pb.MessageType(b[8])
	flags, context, count := b[9], le.Uint16(b[10:]), le.Uint32(b[12:])
	for i, p := range [...]*uint64{&m.To, &m.From, &m.Term, &m.LogTerm, &m.Index, &m.Commit, &m.Vote, &m.RejectHint} {
		*p = le.Uint64(b[16+8*i:])
	}
	m.Reject = flags&flagReject != 0
	switch _, ok := ClassOf(m.Type); {
	case !ok:
		return fmt.Errorf("type %v does not travel", m.Type)
	case flags&^(flagReject|flagSnapshot) != 0 || le.Uint64(b[80:]) != 0:
		return fmt.Errorf("flags %#x and % x", flags, b[80:])
	case uint64(count) > uint64(len(d.entries)):
		return fmt.Errorf("%d entries where the frame has %d more", count, len(d.entries))
	}
	if b, err = d.take(uint64(context)); err != nil {
		return fmt.Errorf("context: %w", err)
	}
	if len(b) > 0 {
		m.Context = append([]byte(nil), b...)
	}
	if flags&flagSnapshot != 0 {
		if m.Snapshot, err = d.snapshot(); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	if count == 0 {
		return nil
	}
	m.Entries = d.entries[:count:count]
	d.entries = d.entries[count:]
	for i := range m.Entries {
		if err := d.entry(&m.Entries[i]); err != nil {
			return fmt.Errorf("entry %d of %d: %w", i, count, err)
		}
	}
	return nil
}

func (d *decoder) entry(e *pb.Entry) error {
	b, err := d.take(EntrySize)
	if err != nil {
		return err
	}
	if b[21]|b[22]|b[23] != 0 {
		return fmt.Errorf("% x where zeros belong", b[21:])
	}
	e.Term, e.Index, e.Type = le.Uint64(b), le.Uint64(b[8:]), pb.EntryType(b[20])
	data, err := d.take(uint64(le.Uint32(b[16:])))
	if len(data) > 0 {
		e.Data = data
	}
	return err
}

func (d *decoder) snapshot() (*pb.Snapshot, error) {
	b, err := d.take(snapshotSize)
	if err != nil {
		return nil, err
	}
	s := &pb.Snapshot{}
	c := &s.Metadata.ConfState
	s.Metadata.Index, s.Metadata.Term = le.Uint64(b), le.Uint64(b[8:])
	flags := le.Uint32(b[16:])
	if flags&^flagLeave != 0 {
		return nil, fmt.Errorf("flags %#x", flags)
	}
	c.AutoLeave = flags&flagLeave != 0
	for i, set := range [...]*[]uint64{&c.Voters, &c.Learners, &c.VotersOutgoing, &c.LearnersNext} {
		ids, err := d.take(8 * uint64(le.Uint32(b[20+4*i:])))
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			*set = make([]uint64, len(ids)/8)
		}
		for i := range *set {
			(*set)[i] = le.Uint64(ids[8*i:])
		}
	}
	data, err := d.take(uint64(le.Uint32(b[36:])))
	if len(data) > 0 {
		s.Data = append([]byte(nil), data...)
	}
	return s, err
}
