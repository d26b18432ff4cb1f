package soak

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"ackline/loadgen/check"
)

// State is a soak between two starts of the program, as it stands in the state file: a line that says what follows, and JSON.
//
//	ackline-soak-state <format> <CRC-32C of the JSON, 8 hexadecimal digits> <length of the JSON in bytes>\n
//	<JSON>
//
// The file is written anew every Config.SaveEvery, beside the old one, synced and put in its place, so that a kill -9 leaves the old one
// or the new one and never half of one. All of it is taken at one moment: positions, streams and counts belong together. What
// happened after that moment and before the kill is not known to the next start, and this is what becomes of it:
//
//   - What had been read back is read again, from the saved position, by streams that stand where they stood then: it is no duplicate.
//   - What had been acknowledged is known by its stream: a launch's streams are saved before the first record of them is sent, and no
//     later launch uses their numbers again. So it is not foreign. Its bytes and its order are verified from the payload, and whoever
//     of it was passed over is lost (see the package comment, 2). The offsets of its acknowledgements are not known any more, and
//     neither is whether the very last of them were acknowledged: if these are gone without a later one, nobody will know.
//     It counts as present without an acknowledgement.
//   - What was on its way may arrive while the next launch writes already. It is of another stream, so that its order is its own.
//
// An older copy of the file does as well: launches since then are not in it, but their streams are numbered higher than any
// that is, and lower than the next launch's, whose numbers follow from the time.
type State struct {
	Run        uint64    `json:"run"` // the payloads' run
	Cluster    string    `json:"cluster,omitempty"`
	Topic      string    `json:"topic"` // several have commas between them
	ValueBytes int       `json:"value_bytes"`
	Created    bool      `json:"created,omitempty"` // the topic is the soak's own
	Started    time.Time `json:"started"`           // of the first start
	Saved      time.Time `json:"saved"`
	SoakedMS   int64     `json:"soaked_ms"`
	Starts     int       `json:"starts"`
	Launches   int       `json:"launches"`
	Outages    Outages   `json:"outages"`
	Done       bool      `json:"done,omitempty"` // it was written for as long as was asked for, and all was read back

	Top       uint32             `json:"top"`       // one above the highest stream
	Retired   uint32             `json:"retired"`   // streams below it are done with unless they stand in Streams
	Positions map[int32]int64    `json:"positions"` // by place
	Streams   map[uint32]*stream `json:"streams"`
	Report    check.Report       `json:"report"`
}

// Outages are the stretches without an acknowledgement although some were due.
type Outages struct {
	Count     int   `json:"count"`
	TotalMS   int64 `json:"total_ms"`
	LongestMS int64 `json:"longest_ms"`
}

const (
	stateMagic  = "ackline-soak-state"
	stateFormat = 1
	stateHead   = stateMagic + " %d %08x %d\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the file's content.
func (s *State) encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, stateHead, stateFormat, crc32.Checksum(b, castagnoli), len(b)), b...), nil
}

// decode is encode's opposite.
func decode(b []byte) (*State, error) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	var format, length int
	var crc uint32
	if !bytes.HasPrefix(head, []byte(stateMagic+" ")) {
		return nil, fmt.Errorf("it is no state of a soak: want a first line that begins with %s, it is %.40q", stateMagic, head)
	}
	if _, err := fmt.Sscanf(string(head)+"\n", stateHead, &format, &crc, &length); err != nil {
		return nil, fmt.Errorf("its first line is damaged: %.80q", head)
	}
	if format != stateFormat {
		return nil, fmt.Errorf("it has format %d, this loadgen reads format %d: resume with the loadgen that wrote it", format, stateFormat)
	}
	if len(body) != length {
		return nil, fmt.Errorf("it is damaged: %d bytes behind the first line, want %d", len(body), length)
	}
	if got := crc32.Checksum(body, castagnoli); got != crc {
		return nil, fmt.Errorf("it is damaged: CRC-32C of its bytes is %08x, it says %08x", got, crc)
	}
	s := &State{}
	if err := json.Unmarshal(body, s); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	for id, st := range s.Streams {
		if st == nil || id >= s.Top {
			return nil, fmt.Errorf("it is damaged: stream %d of %d", id, s.Top)
		}
	}
	return s, nil
}

// load reads a state file. nil without an error: there is none yet.
func load(path string) (*State, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("state %s: %w; to begin a new soak, give another file", path, err)
	}
	return s, nil
}

// replace puts a file with these bytes in the place of the one at path, or leaves that as it was.
func replace(path string, b []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// hold keeps a second soak from the state file, until release is called. The lock is on a file of its own, because the state
// file is replaced all the time.
func hold(path string) (release func(), err error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("state %s: another loadgen is soaking with it (%s: %w)", path, f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// encode adds the verifier's part to s and encodes it, all of it as of one moment.
func (v *verifier) encode(s State) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.Top, s.Retired, s.Positions, s.Streams, s.Report = v.top, v.retired, v.at, v.streams, v.report
	return s.encode()
}

// restore is the opposite of encode. No stream is open: what of them was on its way is unknown.
func (v *verifier) restore(s *State) {
	v.top, v.retired, v.at, v.streams, v.report = s.Top, s.Retired, s.Positions, s.Streams, s.Report
	if v.streams == nil {
		v.streams = map[uint32]*stream{}
	}
	if v.at == nil {
		v.at = map[int32]int64{}
	}
	for _, st := range v.streams {
		v.unread += st.unread()
		v.kept += len(st.Missing) + len(st.Passed)
		v.entries += st.entries()
	}
	v.end()
}
