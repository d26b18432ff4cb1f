// Package profiles says what is measured: topology × tuning × workload, and the suites that list them.
//
// A benchmark whose label is not what ran is worse than none, and the usual way there is a misspelt key that a lenient
// parser drops. So every profile is a TOML file that is decoded strictly into one documented struct: a key that the struct
// does not have is an error that names file, line and the nearest key that exists, and every value is checked before
// anything starts. The profiles in this directory are built into the binary; a name with a slash or with .toml at its end
// is a file of the user's own, and may refer to built-in profiles and to files beside it.
//
//	suite/quick.toml ──▶ topology/single.toml
//	                 ──▶ tuning/default.toml
//	                 ──▶ scenarios ──▶ workload/latency.toml, workload/steady.toml, …
package profiles

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ackline/profiles/strict"
)

//go:embed topology/*.toml tuning/*.toml workload/*.toml suite/*.toml
var builtin embed.FS

// Suite kinds, which are also the names of the folders.
const (
	kindTopology = "topology"
	kindTuning   = "tuning"
	kindWorkload = "workload"
	kindSuite    = "suite"
)

// Names lists the built-in suites.
func Names() []string { return names(kindSuite) }

func names(kind string) []string {
	entries, err := fs.ReadDir(builtin, kind)
	if err != nil {
		panic(fmt.Sprintf("profiles: embedded folder %s: %v", kind, err))
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".toml"))
	}
	return out
}

// LoadSuite reads a suite by name ("quick") or path ("./mine.toml") with everything that it refers to, and validates it
// all. Every error says which file and, where there is one, which line.
func LoadSuite(name string) (*Suite, error) {
	src, err := find(kindSuite, name, "")
	if err != nil {
		return nil, err
	}
	s := &Suite{Name: src.name}
	if err := src.decode(s); err != nil {
		return nil, err
	}
	if err := s.resolve(src); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", src.file, err)
	}
	return s, nil
}

// resolve loads what the suite names.
func (s *Suite) resolve(src source) error {
	topology, err := find(kindTopology, s.TopologyName, src.beside)
	if err == nil {
		err = load(topology, &s.Topology)
	}
	if err != nil {
		return err
	}
	tuning, err := find(kindTuning, s.TuningName, src.beside)
	if err == nil {
		err = load(tuning, &s.Tuning)
	}
	if err != nil {
		return err
	}
	for i := range s.Scenarios {
		sc := &s.Scenarios[i]
		workload, err := find(kindWorkload, sc.WorkloadName, src.beside)
		if err == nil {
			sc.Workload = DefaultWorkload()
			err = load(workload, &sc.Workload)
		}
		if err != nil {
			return fmt.Errorf("%s: scenario %q: %w", src.file, sc.Name, err)
		}
		if sc.TopologyName == "" {
			continue
		}
		topology, err := find(kindTopology, sc.TopologyName, src.beside)
		if err == nil {
			err = load(topology, &sc.Topology)
		}
		if err != nil {
			return fmt.Errorf("%s: scenario %q: %w", src.file, sc.Name, err)
		}
	}
	return nil
}

// Digest is 16 hex digits over everything that the suite resolved to, so that a changed profile under an old name shows.
func (s *Suite) Digest() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("profiles: a suite of plain fields does not marshal: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])[:16]
}

// source is one profile's text and where it came from.
type source struct {
	kind, name string
	file       string // for error messages
	beside     string // directory of a file of the user's own, "" for a built-in one
	text       []byte
}

// find looks a profile up: built in by its bare name, else a file, relative to the file that refers to it.
func find(kind, name, beside string) (source, error) {
	if name == "" {
		return source{}, fmt.Errorf("no %s named; built in: %s", kind, strings.Join(names(kind), ", "))
	}
	if !strings.ContainsRune(name, '/') && !strings.HasSuffix(name, ".toml") {
		file := path.Join(kind, name+".toml")
		text, err := builtin.ReadFile(file)
		if err != nil {
			return source{}, fmt.Errorf("no built-in %s %q; there are %s (a file is named with its .toml)", kind, name,
				strings.Join(names(kind), ", "))
		}
		return source{kind: kind, name: name, file: file, text: text}, nil
	}
	file := name
	if !filepath.IsAbs(file) && beside != "" {
		file = filepath.Join(beside, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return source{}, err
	}
	return source{kind: kind, name: strings.TrimSuffix(filepath.Base(file), ".toml"), file: file,
		beside: filepath.Dir(file), text: text}, nil
}

// config is what every profile kind has in common.
type config interface {
	Validate() error
	setName(string)
}

func load(src source, into config) error {
	if err := src.decode(into); err != nil {
		return err
	}
	into.setName(src.name)
	if err := into.Validate(); err != nil {
		return fmt.Errorf("%s: %w", src.file, err)
	}
	return nil
}

// decode is strict: unknown keys and wrong types are errors with file:line.
func (src source) decode(into any) error { return strict.Decode(src.file, src.kind, src.text, into) }
