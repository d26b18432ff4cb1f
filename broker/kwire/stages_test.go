package kwire

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// asks tells as kmsg reads it whether a request's tags ask for the stages.
func asks(tags kmsg.Tags) (is bool) {
	tags.Each(func(number uint32, content []byte) {
		is = is || number == StagesTag && len(content) > 0 && content[0] >= 1
	})
	return is
}

// asking is a request whose field for the stages has this content, between two fields that mean nothing.
func asking(version int16, content []byte) Header {
	h := onePartition(version)
	r := kmsg.NewPtrProduceRequest()
	r.Version = version
	if err := r.ReadFrom(h.Body); err != nil {
		panic(err)
	}
	r.UnknownTags.Set(9, []byte("nine"))
	r.UnknownTags.Set(StagesTag, content)
	r.UnknownTags.Set(StagesTag+1, nil)
	h.Body = r.AppendTo(nil)
	return h
}

func TestAsksStages(t *testing.T) {
	produceVersions(t, func(t *testing.T, version int16) {
		for content, want := range map[string]bool{"": false, "\x00": false, "\x01": true, "\x02more": true} {
			var p ProduceRequest
			if err := p.Parse(asking(version, []byte(content))); err != nil {
				t.Fatal(err)
			}
			if want = want && version >= 9; p.AsksStages != want { // earlier versions have no tags
				t.Errorf("%q: AsksStages is %v", content, p.AsksStages)
			}
			if _, partition, records, ok := p.Next(); !ok || partition != 3 || len(records) == 0 {
				t.Errorf("%q: partition %d with %d bytes, %v", content, partition, len(records), ok)
			}
		}
		var p ProduceRequest
		if err := p.Parse(onePartition(version)); err != nil || p.AsksStages {
			t.Errorf("a request without the field: AsksStages is %v, %v", p.AsksStages, err)
		}
	})
}

// stagesField is the response's field as the table draws it, with its number and size before it. loadgen/frame has a test with
// these very bytes.
var stagesField = []byte("\xec\xd6\x8d\x8b\x06\x31\x01" +
	"\x00\x00\x00\x00\x00\x00\x03\xe8" + // decode: 1,000 ns
	"\x00\x00\x00\x00\x00\x00\x07\xd0" + // propose: 2,000
	"\x00\x00\x00\x00\x00\x00\x0b\xb8" + // queue: 3,000
	"\xff\xff\xff\xff\xff\xff\xff\xff" + // sync: -1
	"\x00\x00\x00\x00\x00\x01\x86\xa0" + // quorum: 100,000
	"\x00\x00\x00\x01\x00\x00\x00\x00") // encode: 2^32

var stageTimes = StageTimes{Decode: 1000, Propose: 2000, Queue: 3000, Sync: -1, Quorum: 100_000, Encode: 1 << 32}

func TestStagesTable(t *testing.T) {
	if got := appendStages(nil, &stageTimes); !bytes.Equal(got, stagesField) {
		t.Errorf("% x, want % x", got, stagesField)
	}
	if n := len(stagesField) - 6; n != stagesBytes {
		t.Errorf("%d bytes, want %d", n, stagesBytes)
	}
	content := stagesField[6:]
	for at, low := range map[int][]byte{stagesVersionAt: {1}, stagesDecodeAt + 6: {3, 0xe8}, stagesProposeAt + 6: {7, 0xd0}, stagesQueueAt + 6: {0xb, 0xb8},
		stagesSyncAt + 6: {0xff, 0xff}, stagesQuorumAt + 6: {0x86, 0xa0}, stagesEncodeAt: {0, 0, 0, 1}} {
		if !bytes.HasPrefix(content[at:], low) {
			t.Errorf("byte %d on: % x, want % x", at, content[at:], low)
		}
	}
}

// With the field a response is what it was without it but for the tag section at its end, which other implementations read and
// pass over.
func TestStagesAreOnlyAdded(t *testing.T) {
	encode := func(version int16, endpoints []Endpoint, stages *StageTimes) []byte {
		var e ProduceResponse
		e.Begin(nil, Header{Key: KeyProduce, Version: version, Correlation: 7}, 1)
		e.Topic([]byte("topic"), 1)
		e.Partition(ProducePartition{Partition: 3, Base: 5, AppendTime: -1})
		return e.End(11, endpoints, stages)
	}
	for version := int16(3); version <= 11; version++ {
		for _, endpoints := range [][]Endpoint{nil, {{1, "host", 9092, "a"}}} {
			without, with := encode(version, endpoints, nil), encode(version, endpoints, &stageTimes)
			if version < 9 {
				if !bytes.Equal(with, without) {
					t.Errorf("version %d has no tags, and yet % x became % x", version, without, with)
				}
				continue
			}
			tail := []byte{0}
			if version >= 10 && endpoints != nil {
				tail = []byte("\x01\x00\x11\x02\x00\x00\x00\x01\x05host\x00\x00\x23\x84\x02a\x00")
			}
			head, found := bytes.CutSuffix(without[4:], tail)
			if !found {
				t.Fatalf("version %d ends in % x, want % x", version, without, tail)
			}
			want := append(append([]byte(nil), head...), tail...)
			want[len(head)]++
			want = append(want, stagesField...)
			if !bytes.Equal(with[4:], want) || int(with[3]) != len(with)-4 {
				t.Errorf("version %d:\ngot  % x\nwant % x", version, with[4:], want)
			}
			r := kmsg.NewPtrProduceResponse()
			r.Version = version
			if err := r.ReadFrom(with[9:]); err != nil || r.ThrottleMillis != 11 || r.Topics[0].Partitions[0].BaseOffset != 5 {
				t.Errorf("version %d: kmsg reads %+v, %v", version, r, err)
			}
		}
	}
}

func TestStagesDoNotAllocate(t *testing.T) {
	h, name, buf := asking(11, []byte{StagesVersion}), []byte("topic"), make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() {
		var p ProduceRequest
		if err := p.Parse(h); err != nil || !p.AsksStages {
			t.Fatal(err, p.AsksStages)
		}
		var e ProduceResponse
		e.Begin(buf, h, 1)
		e.Topic(name, 1)
		e.Partition(ProducePartition{})
		s := stageTimes
		buf = e.End(0, nil, &s)[:0]
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
