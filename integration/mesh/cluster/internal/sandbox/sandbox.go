// Package sandbox is what the node and the program `pod` say to each other: the node writes Requests to its standard
// input and reads Events from its standard output, one JSON value a line.
package sandbox

import "syscall"

// Request asks the sandbox of a pod for one thing; exactly one field is set.
type Request struct {
	Start  *Container `json:"start,omitempty"`
	Signal *Signal    `json:"signal,omitempty"`
}

// Container is one process of the pod, with a file system of its own.
type Container struct {
	ID   string   `json:"id"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	// User, Group and the further Groups are the ids of the process.
	User   int   `json:"user"`
	Group  int   `json:"group"`
	Groups []int `json:"groups"`
	// Root is an empty directory of the node. The container's file system is mounted there,
	// visible to this container alone.
	Root     string  `json:"root"`
	ReadOnly bool    `json:"readOnly"`
	Mounts   []Mount `json:"mounts"`
	// Log is the file of the node that gets what the process writes, in the format of the container runtime interface.
	Log string `json:"log"`
}

// Mount puts a file or directory of the node into a container.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly"`
}

// Signal is sent to the first process of a container.
type Signal struct {
	ID     string         `json:"id"`
	Number syscall.Signal `json:"number"`
}

// Event is what happened to a container: it started with Pid (as seen inside the pod), or it ended with Exit.
type Event struct {
	ID   string `json:"id"`
	Pid  int    `json:"pid,omitempty"`
	Exit *int   `json:"exit,omitempty"`
}
