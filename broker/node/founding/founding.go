// Package founding makes a cluster of nodes that know each other's addresses and nothing else, once. The problem is that an
// empty data directory says nothing: it is that of a node that starts for the first time, or that of one which has lost its
// disk, and with it its votes and what it had acknowledged. Believed to be new, the second kind votes a second time in terms
// in which it has voted, and a majority of such nodes forms the cluster again, empty, beside what is left of the first.
//
// # The rule
//
// 1. A data directory draws its incarnation once and keeps it (package datadir). Before anything else that is all it has.
// 2. The nodes of the first start are given the same list of all of them. Each tells each other its incarnation. One that has
// heard all of them writes the roster, all nodes with their incarnations, to its disk: it has agreed. It never agrees to
// another roster.
// 3. A node that has heard that every node agreed to the same roster knows that the cluster is formed, and starts its replica
// of the metadata group. The cluster's id is a function of its name and the roster, so all come to the same without asking.
// 4. So forming needs all nodes to be up, once, at the same time; afterwards a majority is enough, as ever.
// 5. A node that hears of a roster with another incarnation for it than it has was emptied since. It stops with an error. As
// long as one node of the roster has its disk no other roster can ever have the agreement of all: the cluster cannot be formed
// twice, and an emptied node never gets to vote, since it never starts a replica.
// 6. A node that is to join (Config.Join) never forms anything. It is told the cluster's id by those that are formed, if they expect
// it: the metadata must have been told of its id before, without an incarnation. One that is known with another incarnation is
// refused: its replicas must be replaced and it removed first; then it is as new.
// 7. Later on the metadata's registrations say who has which incarnation, and for a node that has not registered yet the
// roster does (Admit). The links between nodes, which are made under the cluster's name from the first start on, refuse
// everybody else before a message is looked at; so an emptied node hears why from the first node that it dials (Refused).
package founding

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ackline/broker/id"
	"ackline/broker/node/datadir"
)

// Errors that a node cannot go on after, wrapped with what was found.
var (
	// ErrEmptied: the cluster knows this node with another data directory.
	ErrEmptied = errors.New("this node's data directory is not the one that the cluster knows")
	// ErrOther: the nodes were not told the same.
	ErrOther = errors.New("the nodes are not set up for the same cluster")
)

// Config is what a node brings.
type Config struct {
	Name        string // of the cluster
	Self        id.NodeID
	Incarnation id.Incarnation
	Nodes       []id.NodeID // of the first start, this one included; for one that joins those that it may ask
	Join        bool
	// Roster and Cluster are what the data directory has of them.
	Roster  datadir.Roster
	Cluster string
	// Agree writes a roster to the disk: it must be there when Agree returns.
	Agree func(datadir.Roster) error
	// Expected says what the metadata knows of a node: whether its id is known, and with which incarnation; 0: with none yet.
	// It is asked once the cluster is formed. Nil: nothing is known.
	Expected func(n id.NodeID) (known bool, with id.Incarnation)
}

// Founder is one node's part. Safe for concurrent use.
type Founder struct {
	cfg Config

	mu      sync.Mutex // guards the rest
	roster  datadir.Roster
	cluster string
	heard   map[id.NodeID]id.Incarnation
	agreed  map[id.NodeID]bool
	refused error // final
}

// phases of a node.
const (
	gathering = "gathering"
	agreed    = "agreed"
	formed    = "formed"
	joining   = "joining"
)

// maxMessage bounds a message, and so its lists.
const maxMessage = 64 << 10

// message is what nodes tell each other: each its own view, as JSON, since it is said a few times in a cluster's life and a
// person may have to read it.
type message struct {
	Version     int            `json:"version"`
	Name        string         `json:"name"`
	Node        id.NodeID      `json:"node_id"`
	Incarnation id.Incarnation `json:"incarnation"`
	Nodes       []id.NodeID    `json:"nodes"`
	Phase       string         `json:"phase"`
	Roster      datadir.Roster `json:"roster,omitempty"`
	Cluster     string         `json:"cluster_id,omitempty"`
	Refused     string         `json:"refused,omitempty"` // why the node that is answered cannot be one of the cluster
}

const version = 1

// New returns a node's part. It continues from what the data directory has.
func New(cfg Config) *Founder {
	cfg.Nodes = slices.Compact(slices.Sorted(slices.Values(cfg.Nodes)))
	return &Founder{cfg: cfg, roster: cfg.Roster, cluster: cfg.Cluster, heard: map[id.NodeID]id.Incarnation{cfg.Self: cfg.Incarnation},
		agreed: map[id.NodeID]bool{}}
}

// Formed returns the cluster's id and its roster once the cluster is formed; for a node that joined the roster is empty.
func (f *Founder) Formed() (cluster string, r datadir.Roster, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cluster, f.roster, f.cluster != ""
}

// Roster is what this node has agreed to; nil before.
func (f *Founder) Roster() datadir.Roster {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roster
}

// Waiting lists the nodes that must be heard before the cluster is formed; nil when it is. Any one of them will do for a node
// that joins.
func (f *Founder) Waiting() (out []id.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cluster != "" {
		return nil
	}
	for _, n := range f.cfg.Nodes {
		if n != f.cfg.Self && !f.agreed[n] {
			out = append(out, n)
		}
	}
	return out
}

// Message is what to send to those that Waiting lists, and to Hear the answer to.
func (f *Founder) Message() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view("")
}

// view needs mu.
func (f *Founder) view(refused string) []byte {
	m := message{Version: version, Name: f.cfg.Name, Node: f.cfg.Self, Incarnation: f.cfg.Incarnation, Nodes: f.cfg.Nodes, Phase: gathering,
		Roster: f.roster, Cluster: f.cluster, Refused: refused}
	switch {
	case f.cluster != "":
		m.Phase = formed
	case f.cfg.Join:
		m.Phase = joining
	case len(f.roster) > 0:
		m.Phase = agreed
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("founding: a message that cannot be encoded: %v", err))
	}
	return b
}

// Answer takes another node's message and answers it. What it says counts as heard; an error concerns the other only.
func (f *Founder) Answer(from id.NodeID, b []byte) ([]byte, error) {
	m, err := decode(from, b)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cluster == "" {
		f.take(m) // what is wrong the other hears by the answer, and this node by its own question
		return f.view(""), nil
	}
	return f.view(f.refusal(m)), nil
}

// refusal is why a node cannot be one of the cluster that is formed; "": it can. Needs mu.
func (f *Founder) refusal(m message) string {
	if m.Name != f.cfg.Name {
		return fmt.Sprintf("node %d is of cluster %q, node %d of cluster %q", m.Node, m.Name, f.cfg.Self, f.cfg.Name)
	}
	known, with := false, id.Incarnation(0)
	if f.cfg.Expected != nil {
		known, with = f.cfg.Expected(m.Node)
	}
	switch {
	case m.Phase == joining && !known:
		return fmt.Sprintf("cluster %q does not expect a node %d: it has to be added there first", f.cfg.Name, m.Node)
	case known && with == m.Incarnation, known && with == 0 && m.Phase == joining:
		return ""
	case known && with != 0:
		return emptied(m.Node)
	case f.roster.Incarnation(m.Node) == m.Incarnation:
		return ""
	case m.Phase == gathering || m.Phase == agreed:
		return fmt.Sprintf("cluster %q is formed, and node %d is not one of those that formed it with the data directory that it has now: "+
			"start it on the directory that it had, or as a new node once the cluster expects it", f.cfg.Name, m.Node)
	}
	return ""
}

func emptied(n id.NodeID) string {
	return fmt.Sprintf("node %d is known with another data directory: start it on that one. If its disk is lost, so are its votes: an empty "+
		"directory cannot take its place under this id", n)
}

// Refused tells that another node's end of a link does not admit this node, and why: Run ends.
func (f *Founder) Refused(by id.NodeID, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if by != f.cfg.Self && f.cluster == "" {
		f.refused = fmt.Errorf("%w: node %d refuses it: %s", ErrEmptied, by, why)
	}
}

// Hear takes the answer to a Message. An error is final: the node must not start.
func (f *Founder) Hear(from id.NodeID, b []byte) error {
	m, err := decode(from, b)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cluster != "" {
		return nil
	}
	return f.take(m)
}

func (f *Founder) final() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}

// take needs mu.
func (f *Founder) take(m message) error {
	switch {
	case m.Name != f.cfg.Name:
		return fmt.Errorf("%w: node %d is of cluster %q, this node of cluster %q: correct cluster.name, or the address", ErrOther, m.Node, m.Name, f.cfg.Name)
	case m.Refused != "":
		return fmt.Errorf("%w: %s", ErrEmptied, m.Refused)
	case f.cfg.Join:
		return f.join(m)
	case m.Phase == joining:
		return nil // it waits until there is a cluster
	case m.Phase == formed && len(m.Roster) == 0:
		return nil // it joined, and knows nothing of how the cluster was formed
	case len(m.Roster) > 0 && m.Roster.Incarnation(f.cfg.Self) != f.cfg.Incarnation:
		return fmt.Errorf("%w: %s (node %d says so; the directory has incarnation %#x)", ErrEmptied, emptied(f.cfg.Self), m.Node, f.cfg.Incarnation)
	case m.Phase != formed && !slices.Equal(m.Nodes, f.cfg.Nodes):
		return fmt.Errorf("%w: node %d was given the nodes %v, this node %v: give every node the same list", ErrOther, m.Node, m.Nodes, f.cfg.Nodes)
	case len(f.roster) > 0 && len(m.Roster) > 0 && !m.Roster.Equal(f.roster):
		return fmt.Errorf("%w: node %d has agreed to form it of nodes %v, this node of %v. Data directories were emptied while the cluster was being "+
			"formed; nothing was stored in it yet: empty those of all nodes and start them again", ErrOther, m.Node, m.Roster, f.roster)
	}
	f.heard[m.Node] = m.Incarnation
	if len(f.roster) == 0 {
		r := m.Roster
		if len(r) == 0 {
			r = f.complete()
		}
		if len(r) == 0 {
			return nil
		}
		if err := f.cfg.Agree(r); err != nil {
			return fmt.Errorf("founding: writing down who forms the cluster: %w", err)
		}
		f.roster, f.agreed[f.cfg.Self] = r, true
	}
	if len(m.Roster) > 0 {
		f.agreed[m.Node] = true
	}
	f.agreed[f.cfg.Self] = true
	if m.Phase == formed && m.Cluster != f.roster.ClusterID(f.cfg.Name) {
		return fmt.Errorf("%w: node %d has cluster id %s, its roster [%v] makes %s: one of them was changed by hand", ErrOther, m.Node, m.Cluster,
			m.Roster, f.roster.ClusterID(f.cfg.Name))
	}
	if m.Phase == formed || !slices.ContainsFunc(f.roster, func(x datadir.Member) bool { return !f.agreed[x.Node] }) {
		f.cluster = f.roster.ClusterID(f.cfg.Name)
	}
	return nil
}

// complete is the roster if every node was heard. Needs mu.
func (f *Founder) complete() (r datadir.Roster) {
	for _, n := range f.cfg.Nodes {
		inc := f.heard[n]
		if inc == 0 {
			return nil
		}
		r = append(r, datadir.Member{Node: n, Incarnation: inc})
	}
	return r
}

// join needs mu.
func (f *Founder) join(m message) error {
	if m.Phase == formed {
		f.cluster = m.Cluster
	}
	return nil
}

func decode(from id.NodeID, b []byte) (m message, err error) {
	if len(b) > maxMessage {
		return m, fmt.Errorf("founding: node %d sends %d bytes, %d are possible", from, len(b), maxMessage)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("founding: node %d: %w", from, err)
	}
	switch {
	case m.Version != version:
		return m, fmt.Errorf("founding: node %d speaks version %d, this node %d: run the same release", from, m.Version, version)
	case m.Node != from || m.Incarnation == 0:
		return m, fmt.Errorf("founding: node %d says that it is node %d with incarnation %#x", from, m.Node, m.Incarnation)
	case !slices.Contains([]string{gathering, agreed, formed, joining}, m.Phase):
		return m, fmt.Errorf("founding: node %d is %q, which this release does not know", from, strings.ToValidUTF8(m.Phase, "?"))
	case (m.Phase == agreed) && len(m.Roster) == 0, (m.Phase == formed) != (m.Cluster != ""), (m.Phase == gathering || m.Phase == joining) && len(m.Roster) > 0:
		return m, fmt.Errorf("founding: node %d is %s with roster [%v] and cluster %q", from, m.Phase, m.Roster, m.Cluster)
	}
	return m, m.Roster.Check()
}
