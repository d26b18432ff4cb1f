package frame

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"ackline/broker/id"
)

// A hello opens a connection:
//
//	 0  2  format version
//	 2  1  class: 0 control, 1 bulk, 2 call, 3 snapshot
//	 3  1  zero
//	 4  4  feature level of who dialled
//	 8  4  node id of who dialled
//	12  4  node id of who should accept
//	16  8  incarnation of who dialled
//	24  8  boot
//	32     cluster id, to the end
//
// A welcome answers it, or refuses and is followed by the end of the connection. It is the same in every format version:
//
//	 0  2  format version of who accepted
//	 2  2  reason, 0 = welcome
//	 4  4  feature level
//	 8  4  node id
//	12  4  zero
//	16  8  incarnation
//	24  8  boot
//	32     why it is refused, in words, to the end
const (
	helloSize   = 32
	welcomeSize = 32

	// MaxText bounds a cluster id, and the words of a refusal or a result.
	MaxText = 512
	// MaxHandshakeBody bounds the frames of a handshake, so that a stranger cannot ask for memory.
	MaxHandshakeBody = helloSize + MaxText
)

// Identity is which process a node id stands for.
type Identity struct {
	Incarnation id.Incarnation // of the data directory
	Boot        uint64         // drawn by each process when it starts: a node that restarts leads nothing any more
}

// Hello is how a node introduces itself on a connection.
type Hello struct {
	Version  uint16
	Class    Class
	Features uint32
	From, To id.NodeID
	Identity Identity
	Cluster  string
}

// Frame encodes it, with its header.
func (h *Hello) Frame() []byte {
	b := make([]byte, HeaderSize, HeaderSize+helloSize+len(h.Cluster))
	b = le.AppendUint16(b, h.Version)
	b = append(b, byte(h.Class), 0)
	b = le.AppendUint32(b, h.Features)
	b = le.AppendUint32(b, uint32(h.From))
	b = le.AppendUint32(b, uint32(h.To))
	b = le.AppendUint64(b, uint64(h.Identity.Incarnation))
	b = le.AppendUint64(b, h.Identity.Boot)
	return Seal(append(b, h.Cluster...), KindHello)
}

// DecodeHello decodes a hello's body. Of another format version only the version is read: h.Version then says which, and
// there is no error.
func DecodeHello(body []byte) (h Hello, err error) {
	if len(body) < 2 {
		return h, fmt.Errorf("%w: hello of %d bytes", ErrFormat, len(body))
	}
	if h.Version = le.Uint16(body); h.Version != Version {
		return h, nil
	}
	if len(body) < helloSize || len(body) > MaxHandshakeBody || body[2] > byte(Snapshot) || body[3] != 0 {
		return h, fmt.Errorf("%w: hello % x", ErrFormat, body)
	}
	h.Class = Class(body[2])
	h.Features = le.Uint32(body[4:])
	h.From, h.To = id.NodeID(le.Uint32(body[8:])), id.NodeID(le.Uint32(body[12:]))
	h.Identity = Identity{id.Incarnation(le.Uint64(body[16:])), le.Uint64(body[24:])}
	h.Cluster = string(body[helloSize:])
	return h, nil
}

// Reason is why a connection is refused.
type Reason uint16

// The reasons. They are part of the format and only ever added to.
const (
	Accepted        Reason = 0
	OtherVersion    Reason = 1  // another format version
	OtherCluster    Reason = 2  // another cluster
	OtherNode       Reason = 3  // who accepted is not the node that was meant
	UnknownNode     Reason = 4  // who dialled is no peer of who accepted
	DuplicateNode   Reason = 5  // another process with this node id is alive
	OtherFeatures   Reason = 6  // the feature level is below what the other needs
	BadCertificate  Reason = 7  // the certificate is not that of the node id
	NotAdmitted     Reason = 8  // the incarnation is not the one that the cluster knows
	Busy            Reason = 9  // too many snapshots at once
	ShuttingDown    Reason = 10 // who accepted is about to go
	MalformedHello  Reason = 11 // what came was no hello that makes sense
	OtherTLS        Reason = 12 // one side has TLS and the other has not
	NoMember        Reason = 13 // who dialled is none of the cluster's nodes, as far as who accepted knows
	lastKnownReason        = NoMember
)

var reasonNames = [...]string{"accepted", "other version", "other cluster", "other node", "unknown node", "duplicate node",
	"other features", "bad certificate", "not admitted", "busy", "shutting down", "malformed hello", "TLS on one side", "no member"}

func (r Reason) String() string {
	if r <= lastKnownReason {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint16(r))
}

// RefusedError says that a handshake was refused, by this node or by the other.
type RefusedError struct {
	Reason Reason
	Text   string    // what is wrong and what would be right
	By     id.NodeID // who refused, 0 if not known
}

func (e *RefusedError) Error() string {
	by := "the other side"
	if e.By != 0 {
		by = fmt.Sprintf("node %d", e.By)
	}
	return fmt.Sprintf("%s refuses the connection (%v): %s", by, e.Reason, e.Text)
}

// Welcome is the answer to a hello.
type Welcome struct {
	Version  uint16
	Reason   Reason
	Features uint32
	Node     id.NodeID
	Identity Identity
	Text     string
}

// Frame encodes it, with its header.
func (w *Welcome) Frame() []byte {
	b := make([]byte, HeaderSize, HeaderSize+welcomeSize+len(w.Text))
	b = le.AppendUint16(b, w.Version)
	b = le.AppendUint16(b, uint16(w.Reason))
	b = le.AppendUint32(b, w.Features)
	b = le.AppendUint32(b, uint32(w.Node))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(w.Identity.Incarnation))
	b = le.AppendUint64(b, w.Identity.Boot)
	return Seal(append(b, clip(w.Text)...), KindWelcome)
}

// DecodeWelcome decodes a welcome's body. A refusal is no error here: see Err.
func DecodeWelcome(body []byte) (w Welcome, err error) {
	if len(body) < welcomeSize || len(body) > MaxHandshakeBody || le.Uint32(body[12:]) != 0 {
		return w, fmt.Errorf("%w: welcome % x", ErrFormat, body)
	}
	return Welcome{
		Version:  le.Uint16(body),
		Reason:   Reason(le.Uint16(body[2:])),
		Features: le.Uint32(body[4:]),
		Node:     id.NodeID(le.Uint32(body[8:])),
		Identity: Identity{id.Incarnation(le.Uint64(body[16:])), le.Uint64(body[24:])},
		Text:     string(body[welcomeSize:]),
	}, nil
}

// Err is the refusal, nil for a welcome.
func (w *Welcome) Err() error {
	if w.Reason == Accepted {
		return nil
	}
	return &RefusedError{Reason: w.Reason, Text: printable(w.Text), By: w.Node}
}

// clip cuts a text to what fits, at a character's boundary.
func clip(s string) string {
	if len(s) <= MaxText {
		return s
	}
	n := MaxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// printable takes from a stranger's text what could disturb a terminal or a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}
