package frame

import (
	"fmt"
	"math"
	"time"
)

// A request asks the node that accepted the connection for something:
//
//	 0  8  its number, from 1 on and rising on each connection
//	 8  4  how many milliseconds the answer is waited for, 0 = without an end
//	12  2  what is asked for
//	14  2  zero
//	16     payload, to the end
//
// A reply answers it, in any order:
//
//	 0  8  number of the request
//	 8  2  verdict
//	10  2  zero
//	12     payload, or why there is none in words, to the end
const (
	requestSize = 16
	replySize   = 12

	// CallHead is how many bytes more than its payload the larger of the two takes behind the frame's header.
	CallHead = requestSize
)

// Request is one call, on its way there.
type Request struct {
	Number  uint64
	Wait    time.Duration // in whole milliseconds, 0: for ever
	What    uint16
	Payload []byte
}

// Frame encodes it, with its header. A wait is rounded up, so that it does not become one for ever.
func (q *Request) Frame() []byte {
	b := make([]byte, HeaderSize, HeaderSize+requestSize+len(q.Payload))
	b = le.AppendUint64(b, q.Number)
	b = le.AppendUint32(b, uint32(min((q.Wait+time.Millisecond-1)/time.Millisecond, math.MaxUint32)))
	b = le.AppendUint16(b, q.What)
	b = le.AppendUint16(b, 0)
	return Seal(append(b, q.Payload...), KindRequest)
}

// DecodeRequest decodes a request's body. The payload is the body's memory.
func DecodeRequest(body []byte) (q Request, err error) {
	if len(body) < requestSize || le.Uint64(body) == 0 || le.Uint16(body[14:]) != 0 {
		return q, fmt.Errorf("%w: request of %d bytes, beginning % x", ErrFormat, len(body), body[:min(len(body), requestSize)])
	}
	return Request{Number: le.Uint64(body), Wait: time.Duration(le.Uint32(body[8:])) * time.Millisecond, What: le.Uint16(body[12:]),
		Payload: body[requestSize:]}, nil
}

// Verdict is what became of a request.
type Verdict uint16

// The verdicts. They are part of the format and only ever added to.
const (
	Answered  Verdict = 0 // the payload is the answer
	Failed    Verdict = 1 // it was tried, and failed; whether it had an effect is for the words to say
	Declined  Verdict = 2 // nothing was done: too much is being done already, or its time was over
	NoSuch    Verdict = 3 // nothing was done: the node does not know what is asked for
	lastKnown         = NoSuch
)

var verdictNames = [...]string{"answered", "failed", "declined", "no such call"}

func (v Verdict) String() string {
	if v <= lastKnown {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint16(v))
}

// Reply is what comes back.
type Reply struct {
	Number  uint64
	Verdict Verdict
	Payload []byte // of Answered the answer, else words
}

// Frame encodes it, with its header.
func (r *Reply) Frame() []byte {
	payload := r.Payload
	if r.Verdict != Answered {
		payload = []byte(clip(string(payload)))
	}
	b := make([]byte, HeaderSize, HeaderSize+replySize+len(payload))
	b = le.AppendUint64(b, r.Number)
	b = le.AppendUint16(b, uint16(r.Verdict))
	b = le.AppendUint16(b, 0)
	return Seal(append(b, payload...), KindReply)
}

// DecodeReply decodes a reply's body. The payload is the body's memory.
func DecodeReply(body []byte) (r Reply, err error) {
	if len(body) < replySize || le.Uint64(body) == 0 || le.Uint16(body[10:]) != 0 {
		return r, fmt.Errorf("%w: reply of %d bytes, beginning % x", ErrFormat, len(body), body[:min(len(body), replySize)])
	}
	return Reply{Number: le.Uint64(body), Verdict: Verdict(le.Uint16(body[8:])), Payload: body[replySize:]}, nil
}

// Words is why there is no answer, fit for a log.
func (r *Reply) Words() string { return printable(clip(string(r.Payload))) }
