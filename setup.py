"""Installs pipeline, components, model_code and serving as packages, and the `polyvit` command."""

import setuptools

setuptools.setup(
    name='polyvit-pipeline',
    version='0.1.0',
    description='A TFX pipeline that co-trains, checks and serves one PolyViT for images, videos and sounds.',
    python_requires='>=3.10',
    packages=setuptools.find_packages(
        include=['pipeline*', 'components*', 'media*', 'model_code*', 'schemas', 'serving*', 'kubeflow*', 'benchmarks']),
    package_data={'schemas': ['*.pbtxt'], 'components.report': ['*.html']},
    entry_points={'console_scripts': ['polyvit=pipeline.cli:main']},
)
