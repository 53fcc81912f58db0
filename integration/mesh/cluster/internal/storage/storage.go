// Package storage gives every claim of its class a directory of the node. Kubernetes has such a provisioner too, but it
// writes under /tmp, where only root may.
package storage

import (
	"context"
	"log"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	className   = "standard"
	provisioner = "cluster.careplane.io/directory"
)

// Provision makes the default storage class, and a volume in directory for each claim of factory; start the factory
// afterwards.
func Provision(ctx context.Context, client kubernetes.Interface, factory informers.SharedInformerFactory, directory string) error {
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: className, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: provisioner,
	}
	if _, err := client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			claim := object.(*corev1.PersistentVolumeClaim)
			if claim.Spec.VolumeName != "" || claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != className {
				return
			}
			if err := provision(ctx, client, claim, filepath.Join(directory, string(claim.UID))); err != nil && !apierrors.IsAlreadyExists(err) {
				log.Printf("claim %s/%s: %v", claim.Namespace, claim.Name, err)
			}
		},
	})
	return err
}

func provision(ctx context.Context, client kubernetes.Interface, claim *corev1.PersistentVolumeClaim, directory string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	// For any user: a directory of the node has no fsGroup.
	if err := os.Chmod(directory, 0o777); err != nil {
		return err
	}
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "pvc-" + string(claim.UID),
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisioner},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      claim.Spec.Resources.Requests,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              className,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: directory}},
		},
	}
	_, err := client.CoreV1().PersistentVolumes().Create(ctx, volume, metav1.CreateOptions{})
	return err
}
