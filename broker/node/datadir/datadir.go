// Package datadir is a broker's data directory: whose it is, and that only one process uses it.
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
	"strconv"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// What a data directory holds:
//
//	LOCK            held by the process that uses it
//	node.json       whose directory this is: format, cluster, node, incarnation, sync method
//	wal.ring        the write-ahead log
//	meta/           snapshots of the metadata group's state
//	groups/GROUP/   a partition's segments
const (
	lockName     = "LOCK"
	identityName = "node.json"
	RingName     = "wal.ring"
	MetaName     = "meta"
	GroupsName   = "groups"

	dataFormat = 1
)

// Identity is node.json: what must not be mixed up.
type Identity struct {
	Format      int            `json:"format"`
	Cluster     string         `json:"cluster_id"`
	Node        id.NodeID      `json:"node_id"`
	Incarnation id.Incarnation `json:"incarnation"`
	// SyncMethod is what probing found best when the directory was made; empty until then.
	SyncMethod string `json:"sync_method,omitempty"`
}

// Dir is an open and locked data directory.
type Dir struct {
	FS   vfs.FS
	Path string
	lock io.Closer
	Identity
	Fresh bool // made by this start
}

// Open locks a data directory and checks that it is this node's; it makes an empty or missing one.
func Open(fsys vfs.FS, path string, node id.NodeID, cluster string) (*Dir, error) {
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
	if err := d.identify(node, cluster); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

// File is the path of something in the directory.
func (d *Dir) File(names ...string) string {
	return filepath.Join(append([]string{d.Path}, names...)...)
}

// Group is the directory of a group.
func (d *Dir) Group(g id.GroupID) string {
	return d.File(GroupsName, strconv.FormatUint(uint64(g), 10))
}

func (d *Dir) identify(node id.NodeID, cluster string) error {
	b, err := vfs.ReadFile(d.FS, d.File(identityName))
	if errors.Is(err, fs.ErrNotExist) {
		return d.found(node, cluster)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.Path, err)
	}
	if err := json.Unmarshal(b, &d.Identity); err != nil {
		return fmt.Errorf("%s: %w; restore the file, it says whose data this is", d.File(identityName), err)
	}
	switch {
	case d.Format > dataFormat:
		return fmt.Errorf("data directory %s has format %d, this program knows %d: run the newer program that wrote it", d.Path, d.Format, dataFormat)
	case d.Format < 1 || d.Cluster == "":
		return fmt.Errorf("%s: format %d and cluster id %q make no sense", d.File(identityName), d.Format, d.Cluster)
	case d.Node != node:
		return fmt.Errorf("data directory %s belongs to node %d, this is node %d: start it with --node-id %d, or choose another --data-dir",
			d.Path, d.Node, node, d.Node)
	case cluster != "" && d.Cluster != clusterID(cluster):
		return fmt.Errorf("data directory %s belongs to cluster id %s, and the cluster named %q has the id %s: give the name that the directory was "+
			"made with, or choose another --data-dir", d.Path, d.Cluster, cluster, clusterID(cluster))
	}
	return nil
}

// found makes a new identity, unless the directory holds data without one: that would be believed to be empty.
func (d *Dir) found(node id.NodeID, cluster string) error {
	if _, err := d.FS.Stat(d.File(RingName)); err == nil {
		return fmt.Errorf("data directory %s holds a WAL and no %s, which says whose it is; restore that file", d.Path, identityName)
	}
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("draw a cluster id: %w", err)
	}
	d.Identity = Identity{
		Format: dataFormat, Node: node,
		Cluster:     base64.RawURLEncoding.EncodeToString(random[:16]),
		Incarnation: id.Incarnation(binary.LittleEndian.Uint64(random[16:]) | 1),
	}
	if cluster != "" {
		d.Cluster = clusterID(cluster)
	}
	d.Fresh = true
	return nil
}

// clusterID makes the id of a cluster of its name, so that its nodes agree on it before they have met.
func clusterID(name string) string {
	sum := sha256.Sum256([]byte("ackline cluster " + name))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Save writes the identity. It is written last when a directory is made, so that one with an identity is complete.
func (d *Dir) Save() error {
	b, err := json.MarshalIndent(d.Identity, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", identityName, err)
	}
	return vfs.WriteFileAtomic(d.FS, d.File(identityName), append(b, '\n'))
}

// Close lets another process use the directory.
func (d *Dir) Close() error { return d.lock.Close() }
