// Package datadir is the directory that holds everything a node keeps: whose it is, and that nobody else uses it. The
// problem is mix-ups. A directory of another node or cluster, believed to be this one's, or an emptied one, believed to be
// as it was, loses what was acknowledged, and all of them look alike from inside.
//
//	LOCK            held by the process that uses it
//	node.json       whose directory this is (Identity)
//	wal.ring        the write-ahead log
//	meta/           snapshots of the metadata group's state
//	groups/GROUP/   a partition's segments
//
// # What each mix-up is answered with
//
//	another process has it          "is in use by another broker"
//	another node's                  "belongs to node N"
//	another cluster's               "belongs to cluster NAME"
//	a single node's, and back       "was made by broker start", "belongs to cluster NAME"
//	a WAL without node.json         "holds a WAL and no node.json"
//	a newer program's               "has format N"
//	emptied                         cannot be seen from inside: package founding
package datadir

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// The names of what a directory holds.
const (
	RingName   = "wal.ring"
	MetaName   = "meta"
	GroupsName = "groups"

	lockName     = "LOCK"
	identityName = "node.json"

	format = 1
)

// Member is a node of a cluster's first start and the incarnation that it had then.
type Member struct {
	Node        id.NodeID      `json:"node_id"`
	Incarnation id.Incarnation `json:"incarnation"`
}

// Roster is the nodes of a cluster's first start, ascending by id.
type Roster []Member

// Incarnation returns what a node had; 0: it is not one of them.
func (r Roster) Incarnation(n id.NodeID) id.Incarnation {
	for _, m := range r {
		if m.Node == n {
			return m.Incarnation
		}
	}
	return 0
}

// Equal tells whether two are the same.
func (r Roster) Equal(o Roster) bool { return slices.Equal(r, o) }

// ClusterID is the id of the cluster that these nodes form under a name: every one of them comes to the same.
func (r Roster) ClusterID(name string) string {
	h := sha256.New()
	fmt.Fprintf(h, "cluster %s\n", name)
	for _, m := range r {
		fmt.Fprintf(h, "%d %016x\n", m.Node, m.Incarnation)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

// Check says what is wrong with a roster that came from elsewhere.
func (r Roster) Check() error {
	for i, m := range r {
		if m.Node < 0 || m.Incarnation == 0 || i > 0 && m.Node <= r[i-1].Node {
			return fmt.Errorf("the roster %v has node %d without an incarnation or out of order", r, m.Node)
		}
	}
	return nil
}

// Joined is what a node that joined must know of the metadata group before it has heard from it.
type Joined struct {
	Replica  id.ReplicaID `json:"replica"`  // this node's
	Founders []id.NodeID  `json:"founders"` // the nodes of the first start
}

// Identity is node.json: what must not be mixed up.
type Identity struct {
	Format      int            `json:"format"`
	Cluster     string         `json:"cluster_id"`             // empty until the cluster is formed
	Name        string         `json:"cluster_name,omitempty"` // empty: a single node's
	Node        id.NodeID      `json:"node_id"`
	Incarnation id.Incarnation `json:"incarnation"`
	// Roster is who forms the cluster, from when this node agreed to it. Empty before, for a node that joined, and for a
	// single node.
	Roster Roster `json:"roster,omitempty"`
	// Joined is what a node was told that came later. Nil for those of the first start.
	Joined *Joined `json:"joined,omitempty"`
	// SyncMethod is what probing found best when the directory was made; empty until then.
	SyncMethod string `json:"sync_method,omitempty"`
}

// Dir is an open and locked data directory.
type Dir struct {
	FS   vfs.FS
	Path string
	Identity
	// Fresh: nothing was stored here yet but the identity of a cluster that is being formed.
	Fresh bool

	lock io.Closer
}

// Open locks a data directory and checks that it is this node's, of the cluster with this name; "" is a single node. It
// makes an empty or missing one. A single node's identity is complete, and to be saved when the rest of the directory is
// made. That of a node of a cluster is saved at once: others will remember its incarnation.
func Open(fsys vfs.FS, path string, node id.NodeID, name string) (*Dir, error) {
	if err := vfs.MkdirAllDurable(fsys, path); err != nil {
		return nil, fmt.Errorf("data directory %s: %w; choose another --data-dir or make it writable for this user", path, err)
	}
	lock, err := fsys.Lock(filepath.Join(path, lockName))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("data directory %s is in use by another broker; stop that one, or choose another --data-dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w; choose another --data-dir or make it writable for this user", path, err)
	}
	d := &Dir{FS: fsys, Path: path, lock: lock}
	if err := d.identify(node, name); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// File is the path of something in the directory.
func (d *Dir) File(names ...string) string {
	return filepath.Join(append([]string{d.Path}, names...)...)
}

// Group is the path of a partition's segments.
func (d *Dir) Group(g id.GroupID) string {
	return d.File(GroupsName, strconv.FormatUint(uint64(g), 10))
}

func (d *Dir) identify(node id.NodeID, name string) error {
	b, err := vfs.ReadFile(d.FS, d.File(identityName))
	if errors.Is(err, fs.ErrNotExist) {
		return d.found(node, name)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.Path, err)
	}
	if err := json.Unmarshal(b, &d.Identity); err != nil {
		return fmt.Errorf("%s: %w; restore the file, it says whose data this is", d.File(identityName), err)
	}
	switch {
	case d.Format > format:
		return fmt.Errorf("data directory %s has format %d, this program knows %d: run the newer program that wrote it", d.Path, d.Format, format)
	case d.Format < 1 || d.Cluster == "" && d.Name == "" || d.Incarnation == 0:
		return fmt.Errorf("%s: format %d, cluster id %q and incarnation %d make no sense; restore the file", d.File(identityName), d.Format,
			d.Cluster, d.Incarnation)
	case d.Node != node:
		return fmt.Errorf("data directory %s belongs to node %d, this is node %d: start it with --node-id %d, or choose another --data-dir",
			d.Path, d.Node, node, d.Node)
	case d.Name == name:
	case name == "":
		return fmt.Errorf("data directory %s belongs to cluster %q: start it with \"broker cluster\", or choose another --data-dir", d.Path, d.Name)
	case d.Name == "":
		return fmt.Errorf("data directory %s was made by \"broker start\" and cannot become part of cluster %q: choose another --data-dir", d.Path, name)
	default:
		return fmt.Errorf("data directory %s belongs to cluster %q, this node is told to be of cluster %q: correct the name, or choose another --data-dir",
			d.Path, d.Name, name)
	}
	if err := d.Roster.Check(); err != nil {
		return fmt.Errorf("%s: %w; restore the file", d.File(identityName), err)
	}
	d.Fresh = d.Cluster == ""
	return nil
}

// found makes a new identity, unless the directory holds data without one: that would be believed to be empty.
func (d *Dir) found(node id.NodeID, name string) error {
	if _, err := d.FS.Stat(d.File(RingName)); err == nil {
		return fmt.Errorf("data directory %s holds a WAL and no %s, which says whose it is; restore that file", d.Path, identityName)
	}
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("draw a cluster id: %w", err)
	}
	d.Fresh = true
	d.Identity = Identity{Format: format, Node: node, Name: name, Incarnation: id.Incarnation(binary.LittleEndian.Uint64(random[16:]) | 1)}
	if name != "" {
		return d.Save()
	}
	d.Cluster = base64.RawURLEncoding.EncodeToString(random[:16])
	return nil
}

// Save writes the identity. One with a cluster id is written last when a directory is made, so that it is complete.
func (d *Dir) Save() error {
	b, err := json.MarshalIndent(d.Identity, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", identityName, err)
	}
	return vfs.WriteFileAtomic(d.FS, d.File(identityName), append(b, '\n'))
}

// Agree records who forms the cluster, before anybody is told that this node agreed.
func (d *Dir) Agree(r Roster) error {
	d.Roster = r
	return d.Save()
}

// Close gives the directory to others.
func (d *Dir) Close() error { return d.lock.Close() }

// String names the nodes of a roster.
func (r Roster) String() string {
	var b strings.Builder
	for i, m := range r {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d (incarnation %#x)", m.Node, m.Incarnation)
	}
	return b.String()
}
