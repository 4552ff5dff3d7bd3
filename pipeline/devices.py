"""Prints which devices TensorFlow sees, as JSON after the word DEVICES: a process that `polyvit doctor` starts."""

import json

import tensorflow as tf


def main():
    found = [(device.device_type, tf.config.experimental.get_device_details(device).get('device_name', ''))
             for device in tf.config.list_physical_devices() if device.device_type != 'CPU']
    print('DEVICES', json.dumps({'found': found, 'cuda': tf.test.is_built_with_cuda()}))


if __name__ == '__main__':
    main()
