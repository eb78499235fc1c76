// Check verifies a directory that `rireki audit export --to` has written, with the code behind Go's checksum database.
//
// It opens the checkpoint, checks that 1,000 entries are included in its tree, and that 100 pairs of sizes are consistent.
// It uses nothing of Rireki: golang.org/x/mod/sumdb reads the note, the tiles and the proofs.
//
//	go run check.go DIRECTORY VKEY
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height     = 8
	width      = 1 << height
	inclusions = 1000
	pairs      = 100
)

type directory string

func (d directory) Height() int { return height }

func (d directory) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles reads tiles by the paths of C2SP tlog-tiles, which do not name the height.
func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var contents [][]byte
	for _, tile := range tiles {
		path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
		read, err := os.ReadFile(filepath.Join(string(d), path))
		if err != nil {
			return nil, err
		}
		contents = append(contents, read)
	}
	return contents, nil
}

// entry returns one entry of the log: entry bundles hold each entry after its length in two bytes.
func (d directory) entry(index, size int64) ([]byte, error) {
	tile := tlog.Tile{H: height, L: 0, N: index / width, W: width}
	if size-tile.N*width < width {
		tile.W = int(size - tile.N*width)
	}
	path := "tile/entries/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/0/", height))
	bundle, err := os.ReadFile(filepath.Join(string(d), path))
	if err != nil {
		return nil, err
	}
	for skipped := index % width; ; skipped-- {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			return nil, fmt.Errorf("%s is too short", path)
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		if skipped == 0 {
			return bundle[2:end], nil
		}
		bundle = bundle[end:]
	}
}

func (d directory) tree(vkey string) (tlog.Tree, error) {
	var tree tlog.Tree
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	checkpoint, err := os.ReadFile(filepath.Join(string(d), "checkpoint"))
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(checkpoint, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("the checkpoint is of another log: %q", lines[0])
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, fmt.Errorf("the checkpoint has no root: %q", lines[2])
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

func (d directory) checkInclusion(tree tlog.Tree, hashes tlog.HashReader, index int64) error {
	entry, err := d.entry(index, tree.N)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func checkConsistency(size, old int64, hashes tlog.HashReader) error {
	newRoot, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return err
	}
	oldRoot, err := tlog.TreeHash(old, hashes)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveTree(size, old, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, size, newRoot, old, oldRoot)
}

func check(d directory, vkey string) error {
	tree, err := d.tree(vkey)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, d)
	chance := rand.New(rand.NewSource(20261130))
	for n := 0; n < inclusions; n++ {
		if err := d.checkInclusion(tree, hashes, chance.Int63n(tree.N)); err != nil {
			return fmt.Errorf("inclusion: %w", err)
		}
	}
	for n := 0; n < pairs; n++ {
		size := 1 + chance.Int63n(tree.N)
		if n == 0 {
			size = tree.N
		}
		if err := checkConsistency(size, 1+chance.Int63n(size), hashes); err != nil {
			return fmt.Errorf("consistency: %w", err)
		}
	}
	fmt.Printf("ok: %d events, %d inclusions, %d consistencies\n", tree.N, inclusions, pairs)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: check DIRECTORY VKEY")
		os.Exit(2)
	}
	if err := check(directory(os.Args[1]), os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
