package frame

// Stream cuts what a connection delivers into frames. It does no I/O: the caller reads into Room and says how much came.
//
// A frame without entries is decoded where it was read. One with entries gets memory of its own, which the entries' data
// refer to; of a long one only the beginning is copied there, and the rest is read there. A length that the header claims
// is not memory that it gets: beyond plainBody a body doubles as its bytes arrive.
type Stream struct {
	maxBody int

	in   []byte // what was read
	r, w int    // of in: what is not consumed yet

	head Header
	body []byte // of the frame that is arriving and has memory of its own, or its first piece; nil: none
	fill int    // bytes of body that are here
}

// plainBody is a body's size that is not suspicious.
const plainBody = 1 << 20

// NewStream returns a stream that reads up to readBytes at once and takes bodies of up to maxBody bytes.
func NewStream(readBytes, maxBody int) *Stream {
	return &Stream{maxBody: maxBody, in: make([]byte, max(readBytes, 2*HeaderSize))}
}

// Room is where the next bytes are to be read to, never empty.
func (s *Stream) Room() []byte {
	if s.body != nil {
		return s.body[s.fill:]
	}
	if s.r == s.w {
		s.r, s.w = 0, 0
	} else if s.r > 0 {
		s.w = copy(s.in, s.in[s.r:s.w])
		s.r = 0
	}
	return s.in[s.w:]
}

// Take tells that n bytes were read to Room, and calls each for every frame that is complete, checked against its
// checksum. The body is valid during the call, and for ever if the header counts entries. After an error the stream is
// of no use any more: the connection's place is lost.
func (s *Stream) Take(n int, each func(Header, []byte) error) error {
	if s.body != nil {
		s.fill += n
		if s.fill < len(s.body) {
			return nil
		}
		if len(s.body) < s.head.Length {
			grown := make([]byte, min(s.head.Length, 2*len(s.body)))
			copy(grown, s.body)
			s.body = grown
			return nil
		}
		body := s.body
		s.body = nil
		return s.give(body, each)
	}
	s.w += n
	for s.body == nil && s.w-s.r >= HeaderSize {
		h, err := ParseHeader(s.in[s.r:], s.maxBody)
		if err != nil {
			return err
		}
		rest := s.in[s.r+HeaderSize : s.w]
		if len(rest) < h.Length && h.Entries == 0 && HeaderSize+h.Length <= len(s.in) {
			return nil // the rest will have room
		}
		s.head = h
		if here := min(len(rest), h.Length); here < h.Length || h.Entries > 0 {
			s.body = make([]byte, min(h.Length, max(here, plainBody)))
			s.fill = copy(s.body, rest[:here])
			s.r += HeaderSize + here
			if here < h.Length {
				break
			}
			rest, s.body = s.body, nil
		} else {
			rest = rest[:h.Length]
			s.r += HeaderSize + h.Length
		}
		if err := s.give(rest, each); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) give(body []byte, each func(Header, []byte) error) error {
	if err := s.head.Check(body); err != nil {
		return err
	}
	return each(s.head, body)
}
