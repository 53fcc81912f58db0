package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"careplane.example/integration/mesh/cluster/internal/sandbox"
	"golang.org/x/sys/unix"
)

// initContainer reads its container from file 3, builds the file system and becomes the process.
func initContainer() error {
	file := os.NewFile(3, "container")
	var container sandbox.Container
	if err := json.NewDecoder(file).Decode(&container); err != nil {
		return err
	}
	file.Close()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := buildRoot(&container); err != nil {
		return err
	}
	if err := enterRoot(container.Root); err != nil {
		return err
	}
	if err := os.MkdirAll(container.Dir, 0o755); err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	if err := os.Chdir(container.Dir); err != nil {
		return err
	}
	if err := become(container.User, container.Group, container.Groups); err != nil {
		return err
	}
	os.Clearenv()
	for _, variable := range container.Env {
		name, value, _ := strings.Cut(variable, "=")
		os.Setenv(name, value)
	}
	program, err := exec.LookPath(container.Args[0])
	if err != nil {
		return err
	}
	return unix.Exec(program, container.Args, os.Environ())
}

// become drops root for another user. The pipes of stdout and stderr are handed over first: programs open /dev/stdout.
func become(user, group int, groups []int) error {
	if user == 0 && group == 0 {
		return nil
	}
	for _, output := range []*os.File{os.Stdout, os.Stderr} {
		if err := output.Chown(user, group); err != nil {
			return fmt.Errorf("giving the output to user %d: %w (a user namespace needs a range of users: unshare --map-auto)", user, err)
		}
	}
	if err := syscall.Setgroups(append(groups, group)); err != nil {
		return err
	}
	if err := syscall.Setgid(group); err != nil {
		return err
	}
	return syscall.Setuid(user)
}

// System directories come from the node, read-only: the programs need its C library. All else is the container's own.
var shared = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc/ssl", "etc/ca-certificates", "etc/pki"}

// Devices that every container may open.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

func buildRoot(container *sandbox.Container) error {
	root := container.Root
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	for _, directory := range []string{"dev/shm", "etc", "proc", "root", "run", "tmp", "var/lib", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, directory), 0o755); err != nil {
			return err
		}
	}
	for _, directory := range []string{"tmp", "dev/shm"} {
		if err := os.Chmod(filepath.Join(root, directory), fs.ModeSticky|0o777); err != nil {
			return err
		}
	}
	if err := os.Symlink("/run", filepath.Join(root, "var/run")); err != nil {
		return err
	}
	for _, directory := range shared {
		if err := share(root, directory); err != nil {
			return err
		}
	}
	// What an image installs goes to /usr/local, which is the container's, not the node's.
	if err := unix.Mount("tmpfs", filepath.Join(root, "usr/local"), "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mounting /usr/local: %w", err)
	}
	for _, device := range devices {
		if err := bind(filepath.Join("/dev", device), filepath.Join(root, "dev", device), false); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"passwd":        "root:x:0:0:root:/root:/bin/sh\nistio-proxy:x:1337:1337::/home/istio-proxy:/bin/sh\n",
		"group":         "root:x:0:\nistio-proxy:x:1337:\n",
		"nsswitch.conf": "hosts: files dns\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, mount := range container.Mounts {
		if err := bind(mount.Source, filepath.Join(root, resolve(mount.Target)), mount.ReadOnly); err != nil {
			return err
		}
	}
	if container.ReadOnly {
		return readOnly(root, 0)
	}
	return nil
}

// resolve follows the one link of the container's file system that mounts go through.
func resolve(target string) string {
	if rest, ok := strings.CutPrefix(target, "/var/run/"); ok {
		return "/run/" + rest
	}
	return target
}

// share shows a directory of the node; what is a link there (/lib on a merged /usr) is one here.
func share(root, directory string) error {
	source, target := filepath.Join("/", directory), filepath.Join(root, directory)
	info, err := os.Lstat(source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return os.Symlink(link, target)
	}
	return bind(source, target, true)
}

func bind(source, target string, locked bool) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var file *os.File
		if file, err = os.OpenFile(target, os.O_CREATE, 0o644); err == nil {
			file.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting %s to %s: %w", source, target, err)
	}
	if locked {
		return readOnly(target, unix.AT_RECURSIVE)
	}
	return nil
}

// readOnly changes no other attribute of a mount: in a user namespace the others may be locked.
func readOnly(target string, flags uint) error {
	if err := unix.MountSetattr(unix.AT_FDCWD, target, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("making %s read-only: %w", target, err)
	}
	return nil
}

func enterRoot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// The old root is put under the new one and taken away again, so that nothing of the node is left to see.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	return unix.Unmount(".", unix.MNT_DETACH)
}
