package frame

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// stagesField is the answer as the table draws it, with its number and size before it. The broker's encoder has a test with
// these very bytes.
var stagesField = []byte("\xec\xd6\x8d\x8b\x06\x31\x01" +
	"\x00\x00\x00\x00\x00\x00\x03\xe8" + // decode: 1,000 ns
	"\x00\x00\x00\x00\x00\x00\x07\xd0" + // propose: 2,000
	"\x00\x00\x00\x00\x00\x00\x0b\xb8" + // queue: 3,000
	"\xff\xff\xff\xff\xff\xff\xff\xff" + // sync: -1
	"\x00\x00\x00\x00\x00\x01\x86\xa0" + // quorum: 100,000
	"\x00\x00\x00\x01\x00\x00\x00\x00") // encode: 2^32

var wantStages = Stages{Decode: 1000, Propose: 2000, Queue: 3000, Sync: -1, Quorum: 100_000, Encode: 1 << 32}

// answer is a response with these tags at its end, each with its number and size.
func answer(tags ...[]byte) []byte {
	raw := response(0, 5).AppendTo([]byte{0, 0, 0, 9, 0})
	raw[len(raw)-1] = byte(len(tags))
	return append(raw, bytes.Join(tags, nil)...)
}

func TestParseStages(t *testing.T) {
	other := append([]byte(nil), stagesField...)
	other[6] = 2
	shorter := append([]byte(nil), stagesField[:len(stagesField)-1]...)
	shorter[5]--
	longer := append(append([]byte(nil), stagesField...), 0)
	longer[5]++
	endpoints, unknown := []byte("\x00\x01\x01"), []byte("\xed\xd6\x8d\x8b\x06\x02hi")
	for name, c := range map[string]struct {
		tags [][]byte
		told bool
	}{
		"alone": {[][]byte{stagesField}, true}, "between others": {[][]byte{endpoints, stagesField, unknown}, true},
		"no tags": {nil, false}, "others only": {[][]byte{endpoints, unknown}, false},
		"another version": {[][]byte{other}, false}, "shorter": {[][]byte{shorter}, false}, "longer": {[][]byte{longer}, false},
	} {
		raw := answer(c.tags...)
		got, err := ParseProduced(raw)
		if err != nil || got.Told != c.told || got.Base != 5 || got.ThrottleMS != 31 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if c.told && got.Stages != wantStages || !c.told && got.Stages != (Stages{}) {
			t.Errorf("%s: %+v, want %+v", name, got.Stages, wantStages)
		}
		for i := range raw {
			if _, err := ParseProduced(raw[:i]); err == nil {
				t.Errorf("%s: %d of %d bytes parsed", name, i, len(raw))
			}
		}
	}
}

// A request that asks is the one that does not, but for the tag section at its end; another implementation finds the field there.
func TestAskStages(t *testing.T) {
	p := NewPayloads(9, 100)
	frames := [2][]byte{}
	for i := range frames {
		pr, err := NewProduce("topic-a", 2, 1234, p)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			pr.AskStages()
		}
		frames[i] = make([]byte, pr.Len())
		pr.Init(frames[i])
		pr.Patch(frames[i], 77, 6, 42, 1000, 5)
	}
	plain, asking := frames[0], frames[1]
	if n := len(plain) - 1; !bytes.Equal(asking[4:n], plain[4:n]) || plain[n] != 0 || !bytes.Equal(asking[n:], []byte("\x01\xec\xd6\x8d\x8b\x06\x01\x01")) {
		t.Errorf("asking ends in % x, plain in % x", asking[n:], plain[n:])
	}
	req, _, records := decodeProduce(t, asking)
	if req.UnknownTags.Len() != 1 || len(records) != 2 {
		t.Errorf("kmsg reads %d tags and %d records", req.UnknownTags.Len(), len(records))
	}
	req.UnknownTags.Each(func(number uint32, content []byte) {
		if number != StagesTag || string(content) != "\x01" {
			t.Errorf("kmsg reads tag %#x with % x", number, content)
		}
	})
}

// A request that says where it comes from is the one that does not, but for its client id, whatever else it asks for.
func TestFrom(t *testing.T) {
	const extra = "@eu-central-1"
	frames := [2][]byte{}
	for i, place := range []string{"", "eu-central-1"} {
		pr, err := NewProduce("topic-a", 2, 1234, NewPayloads(9, 100))
		if err != nil {
			t.Fatal(err)
		}
		pr.From(place)
		pr.SetAcks(1)
		pr.AskStages()
		frames[i] = make([]byte, pr.Len())
		pr.Init(frames[i])
		pr.Identify(frames[i], Producer{ID: 5, Epoch: 6})
		pr.Patch(frames[i], 77, 6, 42, 1000, 5)
	}
	plain, from := frames[0], frames[1]
	end := clientAt + 2 + len(ClientID)
	if got, want := string(from[clientAt:end+len(extra)]), "\x00\x14"+ClientID+extra; got != want || ClientOf("eu-central-1") != ClientID+extra {
		t.Errorf("the client id is %q, want %q", got, want)
	}
	if !bytes.Equal(from[4:clientAt], plain[4:clientAt]) || !bytes.Equal(from[end+len(extra):], plain[end:]) || int(from[3]) != int(plain[3])+len(extra) {
		t.Errorf("beside the client id they differ:\n% x\n% x", plain, from)
	}
	if string(plain[clientAt:end]) != "\x00\x07"+ClientID {
		t.Errorf("from nowhere: % x", plain[:end])
	}
	s, err := NewShaped("topic-a", Asked{Records: 1, TimeoutMS: 1, Acks: -1, Place: "eu-central-1"}, NewPayloads(9, 100))
	if err != nil || !bytes.Contains(s.heads[0], []byte(ClientID+extra)) {
		t.Errorf("shaped: %v, % x", err, s.heads[0])
	}
}

// FuzzParseStages: whatever the tags hold, the rest of the answer is read as kmsg reads it, and so is the field.
func FuzzParseStages(f *testing.F) {
	f.Add([]byte{0})
	f.Add(append([]byte{1}, stagesField...))
	f.Add(append([]byte("\x02\x00\x01\x01"), stagesField...))
	f.Fuzz(func(t *testing.T, section []byte) {
		raw := answer()
		raw = append(raw[:len(raw)-1], section...)
		got, err := ParseProduced(raw)
		want := kmsg.NewPtrProduceResponse()
		want.Version = ProduceVersion
		if werr := want.ReadFrom(raw[5:]); err != nil || werr != nil {
			return
		}
		if got.Base != 5 || got.ThrottleMS != want.ThrottleMillis {
			t.Fatalf("%+v, kmsg reads %+v", got, want)
		}
		want.UnknownTags.Each(func(number uint32, content []byte) {
			if is := number == StagesTag && len(content) == stagesBytes && content[0] == 1; is && !got.Told {
				t.Fatalf("the field % x was passed over", content)
			}
		})
	})
}
