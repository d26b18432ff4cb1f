package frame

import (
	"bytes"
	"testing"

	pb "go.etcd.io/raft/v3/raftpb"
)

// Whatever comes, decoding ends, stays within the bytes, and what it takes encodes to the same bytes.
func FuzzStream(f *testing.F) {
	f.Add(sealed(f, 1<<20, someMessages...), 100)
	f.Add(append(sealed(f, 3, someMessages[0]), sealed(f, 3, pb.Message{Type: pb.MsgVote, Context: []byte("x")})...), 7)
	beat := NewBatch(1<<20, 1)
	beat.Heartbeat(&Heartbeat{Sent: 4, Echo: 5, Leaders: []Leader{{1, 2, 3}}, Reads: []Read{{1, 2, 3, true}}})
	beat.Seal()
	f.Add(bytesOf(beat), 5)
	f.Fuzz(func(t *testing.T, wire []byte, step int) {
		if len(wire) >= HeaderSize && step%2 == 0 { // a checksum that is right by chance is out of a fuzzer's reach
			if h, err := ParseHeader(wire, 1<<20); err == nil && HeaderSize+h.Length <= len(wire) {
				reseal(wire[:HeaderSize+h.Length])
			}
		}
		s := NewStream(256, 1<<20)
		var err error
		rest := wire
		for len(rest) > 0 && err == nil {
			n := copy(s.Room()[:max(1, min(len(s.Room()), step&0xff))], rest)
			rest = rest[n:]
			err = s.Take(n, func(h Header, body []byte) error {
				var out []byte
				switch h.Kind {
				case KindMessages:
					ms, err := DecodeMessages(nil, h, body)
					if err != nil {
						return err
					}
					out = encoded(ms)
				case KindHeartbeat:
					var hb Heartbeat
					if err := hb.Decode(body); err != nil {
						return err
					}
					out = hb.append(nil)
				default:
					out = body
				}
				if !bytes.Equal(out, body) {
					t.Errorf("%v: % x\ndecodes and encodes to\n% x", h.Kind, body, out)
				}
				return nil
			})
		}
	})
}

// encoded is the body of a frame with these messages.
func encoded(ms []GroupMessage) (out []byte) {
	for i := range ms {
		out = appendMessage(out, ms[i].Group, &ms[i].Message)
		for k := range ms[i].Message.Entries {
			e := &ms[i].Message.Entries[k]
			out = append(appendEntry(out, e), e.Data...)
		}
	}
	return out
}

// The small frames decode without harm too, and encode to the same bytes.
func FuzzSmallFrames(f *testing.F) {
	f.Add((&Hello{Version: Version, Cluster: "c"}).Frame()[HeaderSize:])
	f.Add((&Welcome{Reason: Busy, Text: "text"}).Frame()[HeaderSize:])
	f.Add((&End{1, 2, true}).Frame()[HeaderSize:])
	f.Add((&Result{true, "text"}).Frame()[HeaderSize:])
	f.Add((&Request{Number: 1, Wait: 2, What: 3, Payload: []byte("x")}).Frame()[HeaderSize:])
	f.Add((&Reply{Number: 1, Verdict: Failed, Payload: []byte("x")}).Frame()[HeaderSize:])
	f.Fuzz(func(t *testing.T, in []byte) {
		same := func(what string, out []byte) {
			if !bytes.Equal(out[HeaderSize:], in) {
				t.Errorf("%s: % x decodes and encodes to % x", what, in, out[HeaderSize:])
			}
		}
		if h, err := DecodeHello(in); err == nil && h.Version == Version {
			same("hello", h.Frame())
		}
		if w, err := DecodeWelcome(in); err == nil && len(w.Text) <= MaxText {
			same("welcome", w.Frame())
			_ = w.Err()
		}
		if e, err := DecodeEnd(in); err == nil {
			same("end", e.Frame())
		}
		if q, err := DecodeRequest(in); err == nil {
			same("request", q.Frame())
		}
		if r, err := DecodeReply(in); err == nil && (r.Verdict == Answered || len(r.Payload) <= MaxText) {
			same("reply", r.Frame())
			_ = r.Verdict.String() + r.Words()
		}
		if _, err := DecodeResult(in); err == nil && len(in) < resultSize {
			t.Errorf("a result of %d bytes", len(in))
		}
		if _, data, err := DecodeChunk(in); err == nil && len(data) == 0 {
			t.Error("an empty chunk")
		}
	})
}
